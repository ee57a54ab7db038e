"""Train and test every arm of an ablation; what is finished is never run again."""

from __future__ import annotations

import copy
import json
import logging
import platform
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lungcls.ablation.arms import DEFAULT_ARMS, Arm, choose_arms
from lungcls.ablation.features import feature_logits, fit_features, read_features
from lungcls.ablation.figures import Answers, arm_rows, difference_rows, swap_rows
from lungcls.ablation.masks import MaskSource, shuffled_lungs, usable_lungs
from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset
from lungcls.data.splits import PARTS, Split, split_dataset
from lungcls.data.views import region_views
from lungcls.errors import DataError, OptionError, RecipeError
from lungcls.evaluation.calibration import fit_temperature
from lungcls.evaluation.sampling import limit_records
from lungcls.files import atomic_write
from lungcls.finder import Finder
from lungcls.gate.gate import Gate
from lungcls.labels import CLASSES
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.recipes import Recipe
from lungcls.regions import Region, View
from lungcls.versions import package_versions
from lungcls.weights import find_weights, load_card

logger = logging.getLogger(__name__)

Masks: TypeAlias = Literal["predicted", "truth", "both"]
Floats = NDArray[np.float64]

PACKAGES: Final = ("lungcls", "torch", "torchvision", "lightning", "numpy", "scikit-learn", "scipy")
REFERENCE: Final = "full"
_BATCH: Final = 64


@dataclass(frozen=True)
class Ablation:
    """What an ablation found.

    Attributes
    ----------
    payload : dict
        JSON-safe: recipe, split, counts, versions, durations, and the three tables below.
    rows : list of dict
        ``arm, masks, metric, class, value, low, high, sd, seeds, n``.
    differences : list of dict
        Each arm against ``full``; see :func:`lungcls.ablation.figures.difference_rows`.
    swaps : list of dict
        ``trained, trained_masks, tested, tested_masks, metric, value, low, high, sd, seeds, n``.
    """

    payload: dict[str, Any]
    rows: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    swaps: list[dict[str, Any]]


@dataclass(frozen=True)
class _Job:
    """One arm with one kind of masks."""

    arm: Arm
    masks: str

    @property
    def name(self) -> str:
        return f"{self.arm.name}-{self.masks}" if self.masks else self.arm.name


def ablate(
    recipe: Recipe,
    database: Dataset,
    out: str | Path,
    *,
    arms: Sequence[str] = DEFAULT_ARMS,
    seeds: int = 3,
    masks: Masks = "predicted",
    split: Split | None = None,
    limit: int = 0,
    gate: str | Path | Gate | None = "gate",
    cache: str | Path | None = None,
    device: str = "auto",
    workers: int = 1,
    n_resamples: int = 2000,
    show_progress: bool = False,
    progress: Progress[Any] = quiet,
) -> Ablation:
    """Train and test arms on the same split, recipe and seeds.

    Parameters
    ----------
    recipe : Recipe
        Of a classifier. Each arm puts its region in, with the recipe's margin and dilation, and each seed is
        the recipe's plus 0, 1, 2...
    database : Dataset
    out : path-like
        Folder of the ablation: ``ablation.json`` (what it is), ``split.csv``, ``runs/<arm>/seed-<n>/`` (one
        run of :func:`lungcls.training.train` each) and ``answers/``. The same call goes on after a kill, and
        other arms or more seeds may be asked for later.
    arms : sequence of str
        Names of :data:`lungcls.ablation.ARMS`.
    seeds : int, default=3
        Trainings of each arm. A linear model has only one.
    masks : {"predicted", "truth", "both"}, default="predicted"
        Lung masks of the recipe's segmenter, or the dataset's own. ``both`` trains each arm that needs masks
        with either, on the images that have both.
    split : Split, optional
        By default :func:`lungcls.data.split_dataset` with the recipe's ``split_seed``.
    limit : int, default=0
        Take only about so many images of each class (whole groups), shared out to the parts as the split is;
        0 takes all.
    gate : str, path-like, Gate or None
        That judges and corrects the films; None for none.
    cache : path-like, optional
        Where predicted masks are kept; by default `out`.
    device : str, default="auto"
    workers : int, default=1
        Processes that augment.
    n_resamples : int, default=2000
        Of the bootstrap by group.
    show_progress : bool, default=False
        Show Lightning's progress bar.
    progress : callable, optional

    Returns
    -------
    Ablation

    Raises
    ------
    RecipeError
        If the recipe is no classifier's, or `out` holds an ablation of another recipe, split or segmenter.
    DataError
        If an arm is unknown, or no image has a usable mask.
    """
    start = time.perf_counter()
    if recipe.task != "classification" or recipe.region is None:
        raise RecipeError(
            f"the recipe {recipe.name!r} is for {recipe.task}; an ablation needs a classifier's"
        )
    if seeds < 1:
        raise OptionError(f"seeds is {seeds}; expected at least 1")
    out = Path(out)
    study = _Study(recipe, database, out, Path(cache or out), masks, split, limit, gate, device, progress)
    jobs = study.jobs(choose_arms(arms))
    for job in jobs:
        for seed in range(seeds if job.arm.region else 1):
            study.train(job, seed, workers, show_progress)
    answers = {job.name: study.answers(job, seeds) for job in jobs}
    found = study.report(jobs, answers, seeds, n_resamples)
    found.payload["seconds"] = round(time.perf_counter() - start, 1)
    found.payload["training_seconds"] = study.durations()
    return found


class _Study:
    """The data of an ablation, and its steps."""

    def __init__(
        self,
        recipe: Recipe,
        database: Dataset,
        out: Path,
        cache: Path,
        masks: Masks,
        split: Split | None,
        limit: int,
        gate: str | Path | Gate | None,
        device: str,
        progress: Progress[Any],
    ) -> None:
        if masks not in ("predicted", "truth", "both"):
            raise OptionError(f"masks is {masks!r}; expected 'predicted', 'truth' or 'both'")
        self.recipe, self.out, self.device, self.progress = recipe, out, device, progress
        self.sources: tuple[MaskSource, ...] = ("predicted", "truth") if masks == "both" else (masks,)
        finder = Finder.load(recipe.segmenter if "predicted" in self.sources else None, gate, device)
        self.lungs: dict[str, dict[str, Lungs]] = {
            source: usable_lungs(database, source, finder, cache, progress) for source in self.sources
        }
        whole = split or split_dataset(database, seed=recipe.split_seed, progress=progress)
        usable = [
            record
            for record in database.records
            if record.file in whole.parts and all(record.file in found for found in self.lungs.values())
        ]
        if not usable:
            raise DataError(f"{database.root}: no image of the split has a usable lung mask ({masks})")
        if limit:
            usable = limit_records(usable, whole, limit, recipe.seed)
        self.left_out = len(whole.parts) - len(usable)
        self.database = copy.copy(database)
        self.database.records = usable
        files = {record.file for record in usable}
        self.split = Split(
            {file: part for file, part in whole.parts.items() if file in files},
            {file: group for file, group in whole.groups.items() if file in files},
        )
        self.test = self.split.select(usable, "test")
        self.labels = np.asarray([CLASSES.index(record.label) for record in self.test], np.int64)
        self.groups = [self.split.groups[record.file] for record in self.test]
        self.segmenter = finder.segmenter.card.sha256 if finder.segmenter else None
        self.kept: dict[str, View] = {}
        self._claim()

    def _claim(self) -> None:
        """Write down what the folder's ablation is, or check that it is the same one."""
        path = self.out / "ablation.json"
        stated = json.loads(
            json.dumps(
                {
                    "recipe": self.recipe.to_dict(),
                    "split_hash": self.split.hash,
                    "masks": list(self.sources),
                    "segmenter": self.segmenter,
                }
            )
        )
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            differing = sorted(key for key in stated if found.get(key) != stated[key])
            if differing:
                raise RecipeError(
                    f"{self.out} holds an ablation with another {', '.join(differing)} ({path}); "
                    "give another --out, or the same recipe, split, masks and segmenter"
                )
            return
        self.split.write_csv(self.out / "split.csv")
        with atomic_write(path, "w") as file:
            file.write(json.dumps(stated, indent=1) + "\n")

    def jobs(self, arms: Iterable[Arm]) -> list[_Job]:
        return [_Job(arm, source) for arm in arms for source in (self.sources if arm.needs_mask else ("",))]

    def lungs_of(self, job: _Job) -> dict[str, Lungs]:
        lungs = self.lungs[job.masks or self.sources[0]]
        if job.arm.shuffled:
            return shuffled_lungs(lungs, self.database.records, self.split, self.recipe.seed)
        return lungs

    def region(self, arm: Arm) -> Region:
        assert self.recipe.region is not None
        return replace(self.recipe.region, name=arm.region)

    def run_folder(self, job: _Job, seed: int) -> Path:
        return self.out / "runs" / job.name / f"seed-{seed}"

    def answers_path(self, job: _Job, seed: int) -> Path:
        return self.out / "answers" / f"{job.name}-seed-{seed}.npz"

    def train(self, job: _Job, seed: int, workers: int, show_progress: bool) -> None:
        if job.arm.features:
            self._fit_features(job)
            return
        from lungcls.training import train

        out = self.run_folder(job, seed)
        recipe = replace(
            self.recipe, name=job.name, region=self.region(job.arm), seed=self.recipe.seed + seed
        )
        start = time.perf_counter()
        finished = (out / f"{job.name}.json").is_file()
        train(
            recipe,
            self.database,
            out,
            split=self.split,
            lungs=self.lungs_of(job),
            device=self.device,
            workers=workers,
            show_progress=show_progress,
            progress=self.progress,
        )
        # Checkpoints of every arm and seed would fill a disk; a finished run never goes on from them.
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
        if not finished:
            with atomic_write(out / "seconds.json", "w") as file:
                json.dump(round(time.perf_counter() - start, 1), file)

    def durations(self) -> dict[str, float]:
        """Seconds of each training that ran to its end in one go, by arm and seed."""
        return {
            f"{path.parent.parent.name}/{path.parent.name}": json.loads(path.read_text(encoding="utf-8"))
            for path in sorted((self.out / "runs").glob("*/*/seconds.json"))
        }

    def _fit_features(self, job: _Job) -> None:
        path = self.answers_path(job, 0)
        if path.is_file():
            return
        sets = {}
        for part in PARTS:
            records = self.split.select(self.database.records, part)
            lungs = self.lungs_of(job)
            features = read_features([lungs[r.file] for r in records], job.arm.features, self.progress)
            sets[part] = features, np.asarray([CLASSES.index(record.label) for record in records], np.int64)
        model = fit_features(
            job.arm.features,
            sets["train"],
            sets["validation"],
            balanced=self.recipe.balance != "none",
            seed=self.recipe.seed,
        )
        validation = feature_logits(model, sets["validation"][0], len(CLASSES))
        temperature = fit_temperature(validation, sets["validation"][1])
        logits = feature_logits(model, sets["test"][0], len(CLASSES)) / temperature
        _write_arrays(path, {job.name: logits})

    def answers(self, job: _Job, seeds: int) -> Answers:
        """Answers of an arm's models to the views of their own arm."""
        found = {}
        for seed in range(seeds if job.arm.region else 1):
            stored = _read_arrays(self.answers_path(job, seed))
            if job.name not in stored:
                stored = self._answer(job, seed, [job])
            found[seed] = stored[job.name]
        return Answers(job.arm.name, job.masks, found)

    def _answer(self, job: _Job, seed: int, shown: Sequence[_Job]) -> dict[str, Floats]:
        """Logits of one model on the test views of several arms; those that are stored are not run again."""
        path = self.answers_path(job, seed)
        stored = _read_arrays(path)
        missing = [other for other in shown if other.name not in stored]
        if missing:
            weights = self.run_folder(job, seed) / f"{job.name}.safetensors"
            classifier = Classifier.load(find_weights(weights), self.device)
            for other in missing:
                views = self._views(other, classifier.card.input_size)
                parts = [classifier.logits(views[at : at + _BATCH]) for at in range(0, len(views), _BATCH)]
                stored[other.name] = np.concatenate(parts).astype(np.float64) / classifier.card.temperature
            _write_arrays(path, stored)
        return stored

    def _views(self, job: _Job, size: int) -> View:
        """Test views of an arm, kept for the other models that are shown them."""
        if job.name not in self.kept:
            lungs = self.lungs_of(job)
            self.kept[job.name] = region_views(
                [lungs[record.file] for record in self.test],
                self.region(job.arm),
                size,
                self.progress,
                tone=self.recipe.tone,
            )
        return self.kept[job.name]

    def report(
        self, jobs: Sequence[_Job], answers: Mapping[str, Answers], seeds: int, n_resamples: int
    ) -> Ablation:
        common = (self.labels, self.groups, CLASSES, n_resamples, self.recipe.seed)
        rows = arm_rows(answers.values(), *common)
        others = [one for one in answers.values() if one.arm != REFERENCE]
        differences = (
            difference_rows(answers[REFERENCE], others, *common) if REFERENCE in answers and others else []
        )
        networks = [job for job in jobs if job.arm.region]
        swaps: list[dict[str, Any]] = []
        for shown in networks:
            tested = {
                job.name: {seed: self._answer(job, seed, networks)[shown.name] for seed in range(seeds)}
                for job in networks
            }
            swaps += swap_rows(answers, tested, *common, shown.arm.name, shown.masks)
        counts = {
            part: dict(
                sorted(Counter(r.label for r in self.split.select(self.database.records, part)).items())
            )
            for part in PARTS
        }
        payload = {
            "dataset": self.database.root.name,
            "recipe": self.recipe.to_dict(),
            "arms": {arm.name: arm.shows for arm in dict.fromkeys(job.arm for job in jobs)},
            "masks": list(self.sources),
            "segmenter": self.segmenter,
            "seeds": seeds,
            "seed": self.recipe.seed,
            "split_hash": self.split.hash,
            "images": counts,
            "left_out": self.left_out,
            "bootstrap": {"resamples": n_resamples, "seed": self.recipe.seed, "by": "group"},
            "device": self._device(networks),
            "versions": {**package_versions(PACKAGES), "machine": platform.machine()},
            "figures": rows,
            "differences": differences,
            "swaps": swaps,
        }
        return Ablation(payload, rows, differences, swaps)

    def _device(self, networks: Sequence[_Job]) -> str:
        """Where the networks were trained, as their cards say."""
        devices = {
            load_card(self.run_folder(job, 0) / f"{job.name}.safetensors").versions.get("device", "?")
            for job in networks
        }
        return ", ".join(sorted(devices)) or "cpu"


def _read_arrays(path: Path) -> dict[str, Floats]:
    if not path.is_file():
        return {}
    with path.open("rb") as file, np.load(file) as stored:
        return {name: stored[name] for name in stored.files}


def _write_arrays(path: Path, arrays: Mapping[str, Floats]) -> None:
    with atomic_write(path) as file:
        np.savez(file, **dict(arrays))  # type: ignore[arg-type]
