"""One training run, from a recipe to a weight file with its card."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.utilities.seed import isolate_rng
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset
from lungcls.data.splits import Split, split_dataset
from lungcls.data.views import Progress, predicted_masks, quiet, region_views, segmentation_pairs
from lungcls.errors import DataError, RecipeError
from lungcls.evaluation.calibration import fit_temperature
from lungcls.evaluation.evaluate import logits_on, report_logits, segmentation_on
from lungcls.evaluation.segmentation import dice
from lungcls.files import atomic_write
from lungcls.labels import CLASSES
from lungcls.recipes import Recipe
from lungcls.regions import Mask, View
from lungcls.segmenter import Segmenter
from lungcls.training.datamodule import ViewDataModule
from lungcls.training.epochlog import EpochLog
from lungcls.training.modules import ClassificationStage, SegmentationStage
from lungcls.versions import package_versions
from lungcls.weights import Card, load_card, load_state, save_weights, write_card

logger = logging.getLogger(__name__)

LICENCE = "Research and education only, as the terms of the training data are"
_THRESHOLDS = np.arange(30, 71, 5) / 100
PACKAGES = ("lungcls", "torch", "torchvision", "segmentation-models-pytorch", "albumentations", "lightning")


def train(
    recipe: Recipe,
    database: Dataset,
    out: str | Path,
    *,
    split: Split | None = None,
    cache: str | Path | None = None,
    device: str = "auto",
    devices: int = 1,
    workers: int = 1,
    show_progress: bool = False,
    progress: Progress[Any] = quiet,
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
        By default :func:`lungcls.data.split_dataset` with the recipe's ``split_seed``.
    cache : path-like, optional
        Where predicted masks are kept; by default ``out``.
    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
    devices : int, default=1
        Several GPUs share each batch through Lightning's own strategies.
    workers : int, default=1
        Processes that augment.
    show_progress : bool, default=False
        Show Lightning's progress bar.
    progress : callable, optional
        Shows how far reading the data is.

    Returns
    -------
    Path
        Of the weight file.

    Raises
    ------
    RecipeError
        If `out` holds a run of another recipe or split, or the recipe's ``init`` does not fit its model.
    DataError
        If a part of the split is empty or lacks a class.
    WeightsError
        If the recipe's ``init`` or ``segmenter`` cannot be loaded.
    """
    out = Path(out)
    finished = out / f"{recipe.name}.safetensors"
    split = split or split_dataset(database, seed=recipe.split_seed)
    _claim(out, recipe, split)
    if finished.is_file() and finished.with_suffix(".json").is_file():
        logger.info("%s is finished", out)
        return finished
    run = _Run(recipe, database, split, Path(cache or out), device, progress)
    with isolate_rng():
        pl.seed_everything(recipe.seed, workers=True, verbose=False)
        best = _fit(run, out, device, devices, workers, show_progress)
    return run.finish(best, out)


class _Run:
    """The data of a run and what is made of its best checkpoint."""

    def __init__(
        self,
        recipe: Recipe,
        database: Dataset,
        split: Split,
        cache: Path,
        device: str,
        progress: Progress[Any],
    ) -> None:
        self.recipe = recipe
        self.database = database
        self.split = split
        self.cache = cache
        self.device = device
        self.progress = progress
        self.segmentation = recipe.task == "segmentation"
        usable = [record for record in database.records if record.mask or not self.segmentation]
        self.records = {part: split.select(usable, part) for part in ("train", "validation")}
        self.masks: dict[str, Mask] = {}
        if recipe.region is not None and recipe.region.needs_mask:
            segmenter = Segmenter.load(recipe.segmenter, device)
            self.masks = predicted_masks(database, database.records, segmenter, cache, progress=progress)

    def load(self, part: str, size: int) -> tuple[View, npt.NDArray[Any]]:
        """Views and targets of a part: masks for stage 1, class indices for stage 2."""
        records = self.records[part]
        if self.segmentation:
            return segmentation_pairs(self.database, records, size, self.progress)
        assert self.recipe.region is not None
        views = region_views(self.database, records, self.recipe.region, size, self.masks, self.progress)
        return views, self.labels(part)

    def labels(self, part: str) -> npt.NDArray[np.int64]:
        return np.asarray([CLASSES.index(record.label) for record in self.records[part]], np.int64)

    def stage(self) -> SegmentationStage | ClassificationStage:
        """A fresh Lightning module."""
        if self.segmentation:
            return SegmentationStage(self.recipe)
        weights = None
        if self.recipe.balance == "class_weights":
            counts = np.bincount(self.labels("train"), minlength=len(CLASSES))
            if not counts.all():
                raise DataError(
                    f"{self.database.root}: a class has no training image: {dict(zip(CLASSES, counts))}"
                )
            weights = (counts.sum() / (len(counts) * counts)).tolist()
        return ClassificationStage(self.recipe, weights)

    def finish(self, checkpoint: Path, out: Path) -> Path:
        """Write the weight file, then validate the very file that was written and complete its card."""
        recipe = self.recipe
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "network."
        draft = out / "draft"
        path = save_weights(
            draft,
            {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)},
            name=recipe.name,
            task=recipe.task,
            architecture={key: value for key, value in recipe.model.items() if key != "pretrained"},
            input_size=recipe.input_size,
            value_range=(0.0, 1.0),
            mean=recipe.mean,
            std=recipe.std,
            region=recipe.region.to_dict() if recipe.region else None,
            classes=("lung",) if self.segmentation else CLASSES,
            temperature=1.0,
            thresholds={"mask": 0.5} if self.segmentation else {},
            training_data=self._training_data(),
            recipe=recipe.to_dict(),
            metrics={},
            versions=_versions(self.device),
            licence=LICENCE,
        )
        card = self._validated_segmenter(path) if self.segmentation else self._validated_classifier(path)
        write_card(path, card)
        # The pair moves to its final name last, the card second: a run counts as finished with both.
        final = out / path.name
        path.replace(final)
        path.with_suffix(".json").replace(final.with_suffix(".json"))
        draft.rmdir()
        return final

    def _validated_segmenter(self, path: Path) -> Card:
        segmenter = Segmenter.load(path, self.device)
        records = self.records["validation"]
        threshold = self._best_threshold(segmenter)
        segmenter.card = replace(segmenter.card, thresholds={"mask": threshold})
        masks = predicted_masks(self.database, records, segmenter, self.cache, progress=self.progress)
        report = segmentation_on(self.database, records, masks, progress=self.progress)
        return replace(segmenter.card, metrics={"validation": report.to_dict()})

    def _best_threshold(self, segmenter: Segmenter) -> float:
        """The threshold on the probability of lung with the highest mean Dice on validation."""
        views, masks = self.load("validation", self.recipe.input_size)
        scores = []
        for start in range(0, len(views), self.recipe.batch_size):
            here = slice(start, start + self.recipe.batch_size)
            for probability, mask in zip(segmenter.probabilities(views[here]), masks[here].astype(np.bool_)):
                scores.append([dice(probability > threshold, mask) for threshold in _THRESHOLDS])
        return float(_THRESHOLDS[np.mean(scores, axis=0).argmax()])

    def _validated_classifier(self, path: Path) -> Card:
        classifier = Classifier.load(path, self.device)
        records = self.records["validation"]
        logits, labels = logits_on(self.database, records, self.masks, classifier, progress=self.progress)
        classifier.card = replace(classifier.card, temperature=fit_temperature(logits, labels))
        report = report_logits(logits, labels, records, classifier)
        return replace(classifier.card, metrics={"validation": report.to_dict()})

    def _training_data(self) -> dict[str, Any]:
        counts: dict[str, Any] = {
            part: dict(sorted(Counter(record.label for record in records).items()))
            for part, records in self.records.items()
        }
        return {
            "dataset": "COVID-19 Radiography Database",
            "images": counts,
            "split_seed": self.recipe.split_seed,
            "split_hash": self.split.hash,
            "segmenter": load_card(self.recipe.segmenter).sha256 if self.masks else None,
            "init": load_card(self.recipe.init).sha256 if self.recipe.init else None,
        }


def _fit(run: _Run, out: Path, device: str, devices: int, workers: int, show_progress: bool) -> Path:
    recipe = run.recipe
    stage = run.stage()
    _initialise(stage, recipe)
    stage.to(memory_format=torch.channels_last)
    best = ModelCheckpoint(
        out / "checkpoints",
        filename="{epoch:03d}-{" + stage.monitor + ":.4f}",
        monitor=stage.monitor,
        mode="max",
        save_top_k=1,
        save_last=True,
        enable_version_counter=False,
    )
    callbacks: list[Callback] = [EpochLog(out / "history.csv", recipe), best]
    if recipe.ema_decay:
        # The fused update: one by one, a DenseNet's 700 tensors cost more than they should.
        callbacks.append(WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay)))
    if recipe.patience:
        callbacks.append(EarlyStopping(stage.monitor, mode="max", patience=recipe.patience))
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        trainer = pl.Trainer(
            accelerator={"auto": "auto", "cpu": "cpu", "mps": "mps"}.get(device, "gpu"),
            devices=devices,
            precision="bf16-mixed",
            max_epochs=recipe.epochs,
            # A loader an epoch: the size of the views and the seed of the augmentation follow the epoch.
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=show_progress,
            enable_model_summary=False,
            deterministic="warn",
        )
        last = out / "checkpoints" / "last.ckpt"
        trainer.fit(
            stage,
            datamodule=ViewDataModule(recipe, run.load, workers),
            ckpt_path=str(last) if last.is_file() else None,
            weights_only=True,
        )
    finally:
        torch.use_deterministic_algorithms(deterministic)
    return Path(best.best_model_path)


def _initialise(stage: SegmentationStage | ClassificationStage, recipe: Recipe) -> None:
    """Copy the weights that the recipe starts from: all tensors of the same name and shape."""
    if not recipe.init:
        return
    _, initial = load_state(recipe.init)
    own = stage.network.state_dict()
    fitting = {key: value for key, value in initial.items() if key in own and own[key].shape == value.shape}
    # A head for other classes may differ; a network of another kind may not.
    if len(fitting) < 0.9 * len(own):
        raise RecipeError(
            f"init = {recipe.init!r}: only {len(fitting)} of the {len(own)} tensors of {recipe.model} fit; "
            "start from weights of the same architecture"
        )
    stage.network.load_state_dict({**own, **fitting})


def _claim(out: Path, recipe: Recipe, split: Split) -> None:
    """Write down what a folder's run is, or check that it is the same run."""
    path = out / "recipe.json"
    stated = json.loads(json.dumps({"recipe": recipe.to_dict(), "split_hash": split.hash}))
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != stated:
            raise RecipeError(
                f"{out} holds a run of another recipe or split ({path}); give another --out, or the same one"
            )
        return
    split.write_csv(out / "split.csv")
    with atomic_write(path, "w") as file:
        file.write(json.dumps(stated, indent=1) + "\n")


def _versions(device: str) -> dict[str, str]:
    gpu = device != "cpu" and torch.cuda.is_available()
    name = torch.cuda.get_device_name() if gpu else f"cpu, {torch.get_num_threads()} threads"
    return {**package_versions(PACKAGES), "device": name}
