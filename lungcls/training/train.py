"""One training run, from a recipe to a weight file with its card."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.utilities.seed import isolate_rng
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lungcls.data.dataset import Dataset
from lungcls.data.splits import Split, split_dataset
from lungcls.errors import RecipeError
from lungcls.gate.screening import Gate
from lungcls.lungs import Lungs
from lungcls.models import MODELS
from lungcls.models.pretrained import PretrainedError, copy_weights
from lungcls.models.runtime import resolve_device
from lungcls.recipes import Recipe
from lungcls.study.context import RunContext
from lungcls.study.folder import claim
from lungcls.training.checkpoints import Checkpoint, Patience
from lungcls.training.data import TrainingData
from lungcls.training.datamodule import ViewDataModule
from lungcls.training.distillation import Teachers
from lungcls.training.epochlog import EpochLog
from lungcls.training.finish import finish
from lungcls.training.freezing import StagedTraining
from lungcls.training.modules import ClassificationStage, FindingsStage, SegmentationStage

logger = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    database: Dataset,
    out: str | Path,
    *,
    split: Split | None = None,
    lungs: Mapping[str, Lungs] | None = None,
    gate: str | Path | Gate | None = "gate",
    earlier: Mapping[str, str | Path] | None = None,
    context: RunContext | None = None,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train one stage, or go on where a killed run of the same recipe stopped.

    Parameters
    ----------
    recipe : Recipe
    database : Dataset
    out : path-like
        Folder of the run: ``recipe.json``, ``split.csv``, ``history.csv`` (a row an epoch),
        ``checkpoints/`` and, in the end, ``<recipe.name>.safetensors`` with its card.
    split : Split, optional
        By default that of an earlier call on `out`, else :func:`lungcls.data.split_dataset` with the recipe's
        ``split_seed``.
    lungs : mapping of str to Lungs, optional
        By image file: what a classifier's views are cut from, in place of what the recipe's segmenter finds
        (:mod:`lungcls.ablation` trains on true masks, and on those of other images).
    gate : str, path-like, Gate or None
        That judges and corrects the films as prediction does; None for none.
    earlier : mapping of str to path-like, optional
        Weight files that earlier runs made, by name. The recipe's ``init``, ``segmenter`` and ``teachers``
        are looked up here first, so that a recipe can name them without a path.
    context : RunContext, optional
        Where and how to run.
    callbacks : sequence of lightning.pytorch.Callback, optional
        Run beside the recipe's own.

    Returns
    -------
    Path
        Of the weight file.

    Raises
    ------
    RecipeError
        If `out` holds a run of another recipe, split or labels, or the recipe's ``init``, classes or sizes do
        not fit its model.
    DataError
        If a part of the split is empty or lacks a class.
    WeightsError
        If the recipe's ``init`` or ``segmenter`` cannot be loaded.
    """
    out = Path(out)
    finished = out / f"{recipe.name}.safetensors"
    split = split or run_split(database, out, recipe.split_seed)
    claim(
        out / "recipe.json",
        "a run",
        recipe=recipe.to_dict(),
        split_hash=split.hash,
        labels=label_hash(database),
    )
    if not (out / "split.csv").is_file():
        split.write_csv(out / "split.csv")
    if finished.is_file() and finished.with_suffix(".json").is_file():
        logger.info("%s is finished", out)
        return finished
    context = context or RunContext()
    context = replace(context, cache=context.cache or out)
    data = TrainingData(recipe, database, split, earlier or {}, lungs, gate, context)
    architecture = network_architecture(recipe, data.classes)
    with _seeded(recipe.seed):
        trainer, best = _fit(data, architecture, out, callbacks)
        # Several processes train; one writes, and the others wait until all is written.
        if trainer.is_global_zero:
            finish(data, architecture, best, out)
        trainer.strategy.barrier()
    return finished


def run_split(database: Dataset, out: Path, seed: int) -> Split:
    """Return the split of an earlier call on a folder, else make one; near duplicates are looked for once."""
    path = out / "split.csv"
    if path.is_file():
        return Split.read_csv(path)
    return split_dataset(database, seed=seed, cache=out / "duplicates.json")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed all generators, and leave them and the environment as they were."""
    names = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    before = {name: os.environ.get(name) for name in names}
    with isolate_rng():
        pl.seed_everything(seed, workers=True, verbose=False)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _stage(
    data: TrainingData, architecture: dict[str, Any]
) -> SegmentationStage | ClassificationStage | FindingsStage:
    """A fresh Lightning module."""
    recipe = data.recipe
    if recipe.region is None:
        return SegmentationStage(recipe, architecture)
    counts, balanced = data.counts(), recipe.balance == "class_weights"
    if data.multilabel:
        absent = (data.labels("train") == 0).sum(0)
        return FindingsStage(
            recipe, architecture, len(data.classes), (absent / counts).tolist() if balanced else None
        )
    weights = balanced_weights(counts).tolist() if balanced else None
    teachers = None
    if data.teachers:
        temperature = recipe.distillation_temperature
        teachers = Teachers(data.teachers, recipe.region, data.classes, temperature, recipe.tone)
    return ClassificationStage(recipe, architecture, len(data.classes), weights, teachers)


def balanced_weights(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the weight of each class with which all count the same: ``n / (classes * n_class)``.

    As scikit-learn's ``compute_class_weight("balanced")``.
    """
    return np.asarray(counts.sum() / (len(counts) * counts))


def network_architecture(recipe: Recipe, classes: Sequence[str]) -> dict[str, Any]:
    """The recipe's model for the dataset's classes, and for the recipe's size where it has to know one."""
    model = dict(recipe.model)
    if recipe.task == "segmentation":
        return model
    stated = model.setdefault("classes", len(classes))
    if stated != len(classes):
        raise RecipeError(
            f"the recipe's model has {stated} classes, the dataset {len(classes)} ({', '.join(classes)}); "
            "leave `classes` out of the recipe to follow the dataset, or map the dataset's classes"
        )
    info = MODELS.get(str(model.get("model")))
    if info is not None and info.fixed_size:
        stated = model.setdefault("size", recipe.input_size)
        if {stated, recipe.input_size} | {stage.size for stage in recipe.stages} != {stated}:
            raise RecipeError(
                f"{info.name} takes one size of input, here {stated}; give the same as `input_size` and as "
                "the size of all stages"
            )
    return model


def _fit(
    data: TrainingData, architecture: dict[str, Any], out: Path, extra: Sequence[Callback]
) -> tuple[pl.Trainer, Path]:
    recipe, context = data.recipe, data.context
    stage = _stage(data, architecture)
    _initialise(stage, recipe, data.init)
    stage.to(memory_format=torch.channels_last)
    if context.compile_network:
        # In place, so that the names in checkpoints and weight files stay as they are.
        stage.network.compile()
    best = Checkpoint(
        out / "checkpoints",
        filename="{epoch:03d}-{validation_loss:.4f}",
        monitor=stage.selection,
        mode=stage.mode,
        save_top_k=-1 if context.keep_checkpoints else 1,
        enable_version_counter=False,
    )
    # Not `save_last` of the one above: Lightning 2.6 writes that only when an epoch is a new best.
    last = Checkpoint(out / "checkpoints", filename="last", enable_version_counter=False)
    callbacks: list[Callback] = [EpochLog(out / "history.csv", recipe), best, last, *extra]
    if any(part.train != "all" for part in recipe.stages):
        callbacks.append(StagedTraining(recipe))
    if recipe.ema_decay:
        # The fused update: one by one, a DenseNet's 700 tensors cost more than they should.
        callbacks.append(WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay)))
    if recipe.patience:
        callbacks.append(Patience(stage.selection, mode=stage.mode, patience=recipe.patience))
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        trainer = pl.Trainer(
            accelerator={"auto": "auto", "cpu": "cpu", "mps": "mps"}.get(context.device, "gpu"),
            devices=_chosen(context.device, context.devices),
            precision=_precision(context.device),
            max_epochs=recipe.epochs,
            # A loader an epoch: the size of the views and the seed of the augmentation follow the epoch.
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=context.show_progress,
            enable_model_summary=False,
            deterministic="warn",
        )
        resume = out / "checkpoints" / "last.ckpt"
        trainer.fit(
            stage,
            datamodule=ViewDataModule(recipe, data.load, context.workers),
            ckpt_path=str(resume) if resume.is_file() else None,
            weights_only=True,
        )
    finally:
        torch.use_deterministic_algorithms(deterministic)
    return trainer, Path(best.best_model_path)


def _chosen(device: str, devices: int) -> int | list[int]:
    """How many devices Lightning shall take, or which one: of a number it takes the first ones."""
    kind, _, number = device.partition(":")
    if not number:
        return devices
    if devices > 1:
        raise RecipeError(f"the device is {device!r} and devices {devices}; for several give {kind!r} alone")
    return [int(number)]


def _initialise(
    stage: SegmentationStage | ClassificationStage | FindingsStage, recipe: Recipe, init: str | Path
) -> None:
    """Copy the weights that the recipe starts from: all tensors of the same name and shape."""
    if not init:
        return
    try:
        copy_weights(stage.network, init)
    except PretrainedError as error:
        raise RecipeError(f"init = {recipe.init!r} does not fit {recipe.model}: {error}") from error


def label_hash(database: Dataset) -> str:
    """First 16 hexadecimal digits of the SHA-256 over the classes and the sorted (file, label) pairs."""
    lines = ["\t".join(database.classes), *sorted(f"{one.file}\t{one.label}" for one in database.records)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _precision(device: str) -> Literal["bf16-mixed", "32-true"]:
    """Half the bits where the hardware has bf16; emulated, a step takes tens of times as long as in fp32."""
    chosen = resolve_device(device).type
    if chosen == "cpu":
        return "bf16-mixed" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "32-true"
    return "bf16-mixed" if chosen != "cuda" or torch.cuda.is_bf16_supported() else "32-true"
