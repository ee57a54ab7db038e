"""One training run, from a recipe to a weight file with its card."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.utilities.seed import isolate_rng
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset
from lungcls.data.offline import add_copies, wanted_counts
from lungcls.data.splits import Split, split_dataset
from lungcls.data.views import drawn_lungs, find_lungs, lung_views, region_views, segmentation_pairs
from lungcls.errors import DataError, RecipeError
from lungcls.evaluation.calibration import fit_bias
from lungcls.evaluation.evaluate import logits_on, segmentation_on
from lungcls.evaluation.recalibrate import calibration_data, measured, with_bias
from lungcls.evaluation.segmentation import dice
from lungcls.files import atomic_write
from lungcls.finder import Finder
from lungcls.gate.gate import Gate
from lungcls.lineage import ancestors
from lungcls.lungs import Lungs
from lungcls.models import MODELS
from lungcls.models.pretrained import PretrainedError, copy_weights
from lungcls.progress import Progress, quiet
from lungcls.recipes import Recipe
from lungcls.recipes.recipe import recipe_from_dict
from lungcls.regions import unletterbox, whole_view
from lungcls.segmenter import Segmenter
from lungcls.training.checkpoints import Checkpoint, Patience
from lungcls.training.datamodule import ViewDataModule, Views
from lungcls.training.distillation import Teachers
from lungcls.training.epochlog import EpochLog
from lungcls.training.freezing import StagedTraining
from lungcls.training.modules import ClassificationStage, SegmentationStage
from lungcls.versions import package_versions
from lungcls.weights import Card, load_card, save_weights, write_card

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
    made: Mapping[str, str | Path] | None = None,
    compile_network: bool = False,
    lungs: Mapping[str, Lungs] | None = None,
    gate: str | Path | Gate | None = "gate",
    keep_checkpoints: bool = False,
    callbacks: Sequence[Callback] = (),
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
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default="auto"
    devices : int, default=1
        Several GPUs share each batch through Lightning's own strategies.
    workers : int, default=1
        Processes that augment.
    made : mapping of str to path-like, optional
        Weight files that earlier runs made, by name. The recipe's ``init``, ``segmenter`` and ``teachers``
        are looked up here first, so that a recipe can name them without a path.
    compile_network : bool, default=False
        Compile the network (``torch.compile``): worth its minutes for long runs on a GPU.
    lungs : mapping of str to Lungs, optional
        By image file: what a classifier's views are cut from, in place of what the recipe's segmenter finds
        (:mod:`lungcls.ablation` trains on true masks, and on those of other images).
    gate : str, path-like, Gate or None
        That judges and corrects the films as prediction does; None for none.
    keep_checkpoints : bool, default=False
        Keep the checkpoint of every epoch, not only the best and the last.
    callbacks : sequence of lightning.pytorch.Callback, optional
        Run beside the recipe's own.
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
        If `out` holds a run of another recipe, split or labels, or the recipe's ``init``, classes or sizes do
        not fit its model.
    DataError
        If a part of the split is empty or lacks a class.
    WeightsError
        If the recipe's ``init`` or ``segmenter`` cannot be loaded.
    """
    out = Path(out)
    finished = out / f"{recipe.name}.safetensors"
    split = split or split_dataset(database, seed=recipe.split_seed, progress=progress)
    _claim(out, recipe, split, database)
    if finished.is_file() and finished.with_suffix(".json").is_file():
        logger.info("%s is finished", out)
        return finished
    run = _Run(recipe, database, split, Path(cache or out), device, progress, made or {}, lungs, gate)
    with isolate_rng():
        pl.seed_everything(recipe.seed, workers=True, verbose=False)
        trainer, best = _fit(
            run, out, device, devices, workers, compile_network, show_progress, keep_checkpoints, callbacks
        )
        # Several processes train; one writes, and the others wait until all is written.
        if trainer.is_global_zero:
            run.finish(best, out)
        trainer.strategy.barrier()
    return finished


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
        made: Mapping[str, str | Path],
        lungs: Mapping[str, Lungs] | None,
        gate: str | Path | Gate | None,
    ) -> None:
        self.recipe = recipe
        self.init = made.get(recipe.init, recipe.init)
        self.segmenter = made.get(recipe.segmenter, recipe.segmenter)
        self.database = database
        self.split = split
        self.cache = cache
        self.device = device
        self.progress = progress
        self.segmentation = recipe.task == "segmentation"
        self.classes = ("lung",) if self.segmentation else database.classes
        self.architecture = _architecture(recipe, self.classes)
        usable = [record for record in database.records if record.mask or not self.segmentation]
        self.records = {part: split.select(usable, part) for part in ("train", "validation")}
        self.teachers = [made.get(name, name) for name in recipe.teachers]
        self.predicts = lungs is None and recipe.needs_masks
        self.other_splits = self._other_splits()
        self.finder = Finder.load(self.segmenter if self.predicts else None, gate, device)
        if lungs is None and not self.segmentation:
            # All parts at once, so that an evaluation on another part of the split finds its lungs here too.
            known = [record for record in database.records if record.file in split.parts]
            lungs = find_lungs(database, known, self.finder, cache, progress=progress)
        self.lungs = lungs or {}
        missing = [one.file for part in self.records.values() for one in part if one.file not in self.lungs]
        if missing and not self.segmentation:
            raise DataError(f"the lungs of {len(missing)} films are not given, such as those of {missing[0]}")

    def load(self, part: str, size: int) -> Views:
        """A part at a size: with masks for stage 1, with class indices for stage 2."""
        recipe, records = self.recipe, self.records[part]
        if self.segmentation:
            gate = self.finder.gate
            views, masks = segmentation_pairs(
                self.database, records, size, gate, self.progress, tone=recipe.tone
            )
            return Views(views, masks=masks)
        assert recipe.region is not None
        labels = self.labels(part)
        films = [self.lungs[record.file] for record in records]
        if part == "train" and recipe.lungs_beside:
            views, shares = lung_views(films, recipe.region, size, self.progress, tone=recipe.tone)
            return Views(views, labels, shares, self._strata(part))
        views = region_views(films, recipe.region, size, self.progress, tone=recipe.tone)
        if part == "train" and recipe.offline:
            views, labels = add_copies(
                views, labels, self._wanted(), recipe.offline_augmentation, recipe.seed
            )
        return Views(views, labels, strata=self._strata(part) if part == "train" else None)

    def _strata(self, part: str) -> npt.NDArray[np.int64] | None:
        within = self.recipe.balance_within
        if within == "none":
            return None
        values = [getattr(record, within) for record in self.records[part]]
        return np.unique(values, return_inverse=True)[1].astype(np.int64)

    def labels(self, part: str) -> npt.NDArray[np.int64]:
        return np.asarray([self.classes.index(record.label) for record in self.records[part]], np.int64)

    def _wanted(self) -> dict[int, int]:
        """Images that a class shall have in training after offline augmentation, by its index."""
        return wanted_counts(self.labels("train"), self.recipe.offline, self.classes)

    def stage(self) -> SegmentationStage | ClassificationStage:
        """A fresh Lightning module."""
        if self.segmentation:
            return SegmentationStage(self.recipe, self.architecture)
        weights = None
        if self.recipe.balance == "class_weights":
            weights = balanced_weights(self._counts()).tolist()
        teachers = None
        if self.teachers and self.recipe.region is not None:
            temperature = self.recipe.distillation_temperature
            teachers = Teachers(
                self.teachers, self.recipe.region, self.classes, temperature, self.recipe.tone
            )
        return ClassificationStage(self.recipe, self.architecture, len(self.classes), weights, teachers)

    def _counts(self) -> npt.NDArray[np.int64]:
        """Training images by class, the copies of offline augmentation included; every class has some."""
        counts = np.bincount(self.labels("train"), minlength=len(self.classes))
        if not counts.all():
            raise DataError(
                f"{self.database.root}: a class has no training image: {dict(zip(self.classes, counts))}"
            )
        for index, count in self._wanted().items():
            counts[index] = max(counts[index], count)
        return counts

    def finish(self, checkpoint: Path, out: Path) -> Path:
        """Write the weight file, then validate the very file that was written and complete its card."""
        recipe = self.recipe
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "network."
        draft = out / "draft"
        network = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        path = self._save(draft, network)
        if self.segmentation:
            card = self._validated_segmenter(path)
        else:
            logits, labels = self._validation_logits(path)
            if recipe.bias == "validation":
                network, added = with_bias(network, fit_bias(logits, labels))
                path, logits = self._save(draft, network), logits + added
            card = self._validated_classifier(path, logits, labels)
        write_card(path, card)
        # The pair moves to its final name last, the card second: a run counts as finished with both.
        final = out / path.name
        path.replace(final)
        path.with_suffix(".json").replace(final.with_suffix(".json"))
        draft.rmdir()
        return final

    def _save(self, folder: Path, network: Mapping[str, torch.Tensor]) -> Path:
        """Write a weight file whose card knows no figures yet."""
        recipe = self.recipe
        return save_weights(
            folder,
            network,
            name=recipe.name,
            task=recipe.task,
            architecture={key: value for key, value in self.architecture.items() if key != "pretrained"},
            input_size=recipe.input_size,
            value_range=(0.0, 1.0),
            mean=recipe.mean,
            std=recipe.std,
            region=recipe.region.to_dict() if recipe.region else None,
            classes=self.classes,
            temperature=1.0,
            thresholds={"mask": 0.5} if self.segmentation else {},
            training_data=self._training_data(),
            recipe=recipe.to_dict(),
            metrics={},
            versions=_versions(self.device),
            licence=LICENCE,
            tone=recipe.tone,
            ancestors=ancestors(
                self.architecture,
                init=self.init,
                segmenter=self.segmenter if self.predicts else "",
                teachers=self.teachers,
            ),
        )

    def _validated_segmenter(self, path: Path) -> Card:
        segmenter = Segmenter.load(path, self.device)
        records = self.records["validation"]
        threshold = self._best_threshold(segmenter)
        segmenter.card = replace(segmenter.card, thresholds={"mask": threshold})
        finder = Finder(segmenter, self.finder.gate)
        lungs = find_lungs(self.database, records, finder, self.cache, progress=self.progress)
        report = segmentation_on(self.database, records, lungs, split=self.split, progress=self.progress)
        return replace(segmenter.card, metrics={"validation": report.to_dict()})

    def _best_threshold(self, segmenter: Segmenter) -> float:
        """The threshold on the probability of lung with the highest mean Dice on validation.

        At the masks' own size: at the network's, an outline is off by up to half of a larger pixel.
        """
        records, size = self.records["validation"], self.recipe.input_size
        films = list(drawn_lungs(self.database, records, self.finder.gate).values())
        scores = []
        starts = range(0, len(films), self.recipe.batch_size)
        for start in self.progress(starts, len(starts), "choosing the threshold"):
            batch = films[start : start + self.recipe.batch_size]
            boxed = [whole_view(film.pixels(), size, film.pixel_aspect, self.recipe.tone) for film in batch]
            lung = segmenter.probabilities(np.stack([view for view, _ in boxed]))
            for film, probability, (_, placement) in zip(batch, lung, boxed):
                height, width = film.mask.shape
                placed = unletterbox(probability, placement, (height, width))
                scores.append([dice(placed > threshold, film.mask) for threshold in _THRESHOLDS])
        return float(_THRESHOLDS[np.mean(scores, axis=0).argmax()])

    def _validation_logits(self, path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        classifier = Classifier.load(path, self.device)
        records = self.records["validation"]
        return logits_on(records, self.lungs, classifier, progress=self.progress)

    def _validated_classifier(
        self, path: Path, logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
    ) -> Card:
        records = self.records["validation"]
        data = calibration_data(self.database, records, "validation", self.split)
        bias = self.recipe.bias != "none"
        return measured(load_card(path), logits, labels, records, data, split=self.split, bias=bias)

    def _training_data(self) -> dict[str, Any]:
        counts: dict[str, Any] = {
            part: dict(sorted(Counter(record.label for record in records).items()))
            for part, records in self.records.items()
        }
        return {
            "dataset": self.database.title,
            "images": counts,
            **({"with_copies": self._with_copies()} if self.recipe.offline else {}),
            # Weights that this run rests on and that saw other parts of the data.
            **({"other_splits": self.other_splits} if self.other_splits else {}),
            "split_seed": self.recipe.split_seed,
            "split_hash": self.split.hash,
            "segmenter": load_card(self.segmenter).sha256 if self.predicts else None,
            "init": load_card(self.init).sha256 if self.init else None,
            **({"teachers": [load_card(name).sha256 for name in self.teachers]} if self.teachers else {}),
        }

    def _other_splits(self) -> dict[str, str]:
        """Name and split of the weights that the run rests on and that may have seen its test part."""
        found = {}
        rests_on = [*([self.init] if self.init else []), *([self.segmenter] if self.predicts else [])]
        for weights in [*rests_on, *self.teachers]:
            card = load_card(weights)
            data = card.training_data
            if data.get("dataset") == self.database.title and data.get("split_hash") != self.split.hash:
                found[card.name] = str(data.get("split_hash"))
        for name, used in found.items():
            logger.warning(
                "%s was trained with the split %s, this run has the split %s: validation and test images may "
                "be among those that %s has learnt from, and figures on them too high; use the split of "
                "those weights (--split), or weights made with this split",
                *(name, used, self.split.hash, name),
            )
        return found

    def _with_copies(self) -> dict[str, int]:
        return {self.classes[index]: count for index, count in self._wanted().items()}


def balanced_weights(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the weight of each class with which all count the same: ``n / (classes * n_class)``.

    As scikit-learn's ``compute_class_weight("balanced")``.
    """
    return np.asarray(counts.sum() / (len(counts) * counts))


def _architecture(recipe: Recipe, classes: Sequence[str]) -> dict[str, Any]:
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
    run: _Run,
    out: Path,
    device: str,
    devices: int,
    workers: int,
    compile_network: bool,
    show_progress: bool,
    keep_checkpoints: bool,
    extra: Sequence[Callback],
) -> tuple[pl.Trainer, Path]:
    recipe = run.recipe
    stage = run.stage()
    _initialise(stage, recipe, run.init)
    stage.to(memory_format=torch.channels_last)
    if compile_network:
        # In place, so that the names in checkpoints and weight files stay as they are.
        stage.network.compile()
    best = Checkpoint(
        out / "checkpoints",
        filename="{epoch:03d}-{validation_loss:.4f}",
        monitor=stage.selection,
        mode=stage.mode,
        save_top_k=-1 if keep_checkpoints else 1,
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
            accelerator={"auto": "auto", "cpu": "cpu", "mps": "mps"}.get(device, "gpu"),
            devices=_chosen(device, devices),
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
        resume = out / "checkpoints" / "last.ckpt"
        trainer.fit(
            stage,
            datamodule=ViewDataModule(recipe, run.load, workers),
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


def _initialise(stage: SegmentationStage | ClassificationStage, recipe: Recipe, init: str | Path) -> None:
    """Copy the weights that the recipe starts from: all tensors of the same name and shape."""
    if not init:
        return
    try:
        copy_weights(stage.network, init)
    except PretrainedError as error:
        raise RecipeError(f"init = {recipe.init!r} does not fit {recipe.model}: {error}") from error


def _claim(out: Path, recipe: Recipe, split: Split, database: Dataset) -> None:
    """Write down what a folder's run is, or check that it is the same run."""
    path = out / "recipe.json"
    values = {"recipe": recipe.to_dict(), "split_hash": split.hash, "labels": _label_hash(database)}
    stated = json.loads(json.dumps(values))
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        # Read as a recipe: a run that an older lungcls started lacks the keys that came since.
        same = recipe_from_dict(found["recipe"], str(path)) == recipe_from_dict(stated["recipe"])
        if not same or {**stated, **found, "recipe": None} != {**stated, "recipe": None}:
            raise RecipeError(
                f"{out} holds a run of another recipe, split or labels ({path}); give another --out, or the "
                "same ones"
            )
        return
    split.write_csv(out / "split.csv")
    with atomic_write(path, "w") as file:
        file.write(json.dumps(stated, indent=1) + "\n")


def _label_hash(database: Dataset) -> str:
    """First 16 hexadecimal digits of the SHA-256 over the classes and the sorted (file, label) pairs."""
    lines = ["\t".join(database.classes), *sorted(f"{one.file}\t{one.label}" for one in database.records)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _versions(device: str) -> dict[str, str]:
    gpu = device != "cpu" and torch.cuda.is_available()
    name = torch.cuda.get_device_name() if gpu else f"cpu, {torch.get_num_threads()} threads"
    return {**package_versions(PACKAGES), "device": name}
