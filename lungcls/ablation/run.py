"""An ablation: one recipe an arm and seed, trained and tested on the same films, then compared.

What is finished is never run again.
"""

from __future__ import annotations

import json
import logging
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
from lungcls.ablation.masks import MaskSource, harmonised_lungs, shuffled_lungs, usable_lungs
from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset
from lungcls.data.splits import PARTS, Split, split_dataset
from lungcls.data.views import region_views
from lungcls.errors import DataError, OptionError, RecipeError
from lungcls.evaluation.calibration import fit_temperature
from lungcls.evaluation.sampling import limit_records
from lungcls.files import atomic_write
from lungcls.finder import Finder
from lungcls.gate.screening import Gate
from lungcls.lungs import Lungs
from lungcls.recipes import Recipe
from lungcls.regions import Region, View
from lungcls.study.answers import Answers
from lungcls.study.compare import compare
from lungcls.study.context import RunContext
from lungcls.study.folder import claim
from lungcls.study.provenance import provenance
from lungcls.study.study import groups_of, view_logits
from lungcls.weights import find_weights, load_card

logger = logging.getLogger(__name__)

Masks: TypeAlias = Literal["predicted", "truth", "both"]
Floats = NDArray[np.float64]
Rows: TypeAlias = list[dict[str, Any]]

REFERENCE: Final = "full"
_SWAPPED: Final = ("accuracy", "macro_f1", "macro_auroc")


@dataclass(frozen=True)
class Ablation:
    """What an ablation found.

    Attributes
    ----------
    payload : dict
        JSON-safe: recipe, split, counts, versions, durations, and the three tables below.
    rows : list of dict
        ``arm, masks, metric, class, value, low, high, sd, seeds, n``: the figures of
        :func:`lungcls.study.compare.compare`.
    differences : list of dict
        Each arm against ``full``: ``arm, masks, test, figure, class, value, low, high, p, p_holm,
        only_reference, only_arm``.
    swaps : list of dict
        Models of one arm shown the views of another: ``trained, trained_masks, tested, tested_masks, metric,
        value, low, high, sd, seeds, n``.
    """

    payload: dict[str, Any]
    rows: Rows
    differences: Rows
    swaps: Rows


@dataclass(frozen=True)
class _Job:
    """One arm with one kind of masks."""

    arm: Arm
    masks: str

    @property
    def name(self) -> str:
        return f"{self.arm.name}-{self.masks}" if self.masks else self.arm.name

    def columns(self, arm: str = "arm", masks: str = "masks") -> dict[str, str]:
        return {arm: self.arm.name, masks: self.masks}


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
    n_resamples: int = 2000,
    context: RunContext | None = None,
) -> Ablation:
    """Train and test arms on the same split, recipe and seeds.

    Parameters
    ----------
    recipe : Recipe
        Of a classifier. Each arm puts its region in, with the recipe's margin and dilation, and each seed is
        the recipe's plus 0, 1, 2...
    database : Dataset
        Of any classes.
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
    n_resamples : int, default=2000
        Of the bootstrap by group.
    context : RunContext, optional
        Where and how to run; its ``cache`` is `out` by default.

    Returns
    -------
    Ablation

    Raises
    ------
    RecipeError
        If the recipe is no classifier's, or `out` holds an ablation of another recipe, split or segmenter.
    OptionError
        If `seeds` or `masks` is not as stated.
    DataError
        If an arm is unknown, the dataset has no classes, or no image has a usable mask.
    """
    start = time.perf_counter()
    if recipe.task != "classification" or recipe.region is None:
        raise RecipeError(
            f"the recipe {recipe.name!r} is for {recipe.task}; an ablation needs a classifier's"
        )
    if seeds < 1:
        raise OptionError(f"seeds is {seeds}; expected at least 1")
    if masks not in ("predicted", "truth", "both"):
        raise OptionError(f"masks is {masks!r}; expected 'predicted', 'truth' or 'both'")
    if not database.classes:
        raise DataError(f"{database.root} (layout {database.layout}) has no classes to tell apart")
    database.require_one_class("an ablation")
    out, context = Path(out), context or RunContext()
    context = replace(context, cache=context.cache or out)
    sources: tuple[MaskSource, ...] = ("predicted", "truth") if masks == "both" else (masks,)
    jobs = [
        _Job(arm, source) for arm in choose_arms(arms) for source in (sources if arm.needs_mask else ("",))
    ]
    bench = _bench(recipe, database, out, sources, split, limit, gate, context)
    for job in jobs:
        for seed in range(seeds if job.arm.region else 1):
            bench.train(job, seed)
    tables = _tables(bench, jobs, seeds, n_resamples)
    payload = {
        **bench.about(jobs),
        "seeds": seeds,
        "bootstrap": {"resamples": n_resamples, "seed": recipe.seed, "by": "group"},
        **provenance([], bench.split, bench.device(jobs), start),
        "training_seconds": bench.durations(),
        **dict(zip(("figures", "differences", "swaps"), tables)),
    }
    return Ablation(payload, *tables)


def _bench(
    recipe: Recipe,
    database: Dataset,
    out: Path,
    sources: tuple[MaskSource, ...],
    split: Split | None,
    limit: int,
    gate: str | Path | Gate | None,
    context: RunContext,
) -> _Bench:
    """Find the films that every arm can use, and claim the folder."""
    finder = Finder.load(recipe.segmenter if "predicted" in sources else None, gate, context.device)
    lungs: dict[str, Mapping[str, Lungs]] = {
        source: usable_lungs(database, source, finder, context.cache or out, context.progress)
        for source in sources
    }
    whole = split or split_dataset(database, seed=recipe.split_seed, cache=out / "duplicates.json")
    usable = [
        record
        for record in database.records
        if record.file in whole.parts and all(record.file in found for found in lungs.values())
    ]
    if not usable:
        raise DataError(
            f"{database.root}: no image of the split has a usable lung mask ({' and '.join(sources)})"
        )
    if limit:
        usable = limit_records(usable, whole, limit, recipe.seed)
    segmenter = finder.segmenter.card.sha256 if finder.segmenter else None
    chosen = whole.only(record.file for record in usable)
    stated = {"recipe": recipe.to_dict(), "split_hash": chosen.hash, "masks": sources}
    identity = {"segmenter": segmenter, "gate": finder.gate.card.sha256 if finder.gate else None}
    claim(out / "ablation.json", "an ablation", **stated, **identity)
    chosen.write_csv(out / "split.csv")
    left_out = len(whole.parts) - len(usable)
    return _Bench(recipe, database.only(usable), chosen, lungs, out, context, segmenter, left_out)


class _Bench:
    """The films of an ablation, and what is done with them."""

    def __init__(
        self,
        recipe: Recipe,
        database: Dataset,
        split: Split,
        lungs: Mapping[str, Mapping[str, Lungs]],
        out: Path,
        context: RunContext,
        segmenter: str | None,
        left_out: int,
    ) -> None:
        self.recipe, self.database, self.split, self.lungs = recipe, database, split, lungs
        self.out, self.context = out, context
        self.segmenter, self.left_out = segmenter, left_out
        self.test = split.select(database.records, "test")
        self.views: dict[str, View] = {}

    def about(self, jobs: Iterable[_Job]) -> dict[str, Any]:
        parts = {part: self.split.select(self.database.records, part) for part in PARTS}
        return {
            "dataset": self.database.title,
            "layout": self.database.layout,
            "recipe": self.recipe.to_dict(),
            "arms": {arm.name: arm.shows for arm in dict.fromkeys(job.arm for job in jobs)},
            "masks": list(self.lungs),
            "segmenter": self.segmenter,
            "seed": self.recipe.seed,
            "images": {
                part: dict(sorted(Counter(record.label for record in records).items()))
                for part, records in parts.items()
            },
            "left_out": self.left_out,
        }

    def labels(self, part: str) -> NDArray[np.int64]:
        records = self.split.select(self.database.records, part)
        return np.asarray([self.database.classes.index(record.label) for record in records], np.int64)

    def lungs_of(self, job: _Job) -> Mapping[str, Lungs]:
        lungs = self.lungs[job.masks or next(iter(self.lungs))]
        if job.arm.shuffled:
            return shuffled_lungs(lungs, self.database.records, self.split, self.recipe.seed)
        if job.arm.harmonised:
            reference = self.split.select(self.database.records, "train")
            path = self.out / f"harmonised-{job.masks}.json"
            return harmonised_lungs(lungs, reference, path, self.context.progress)
        return lungs

    def region(self, arm: Arm) -> Region:
        assert self.recipe.region is not None
        return replace(self.recipe.region, name=arm.region)

    def run_folder(self, job: _Job, seed: int) -> Path:
        return self.out / "runs" / job.name / f"seed-{seed}"

    def answers_path(self, job: _Job, seed: int) -> Path:
        return self.out / "answers" / f"{job.name}-seed-{seed}.npz"

    def train(self, job: _Job, seed: int) -> None:
        if job.arm.features:
            self._fit_features(job)
            return
        from lungcls.training import train

        out, start = self.run_folder(job, seed), time.perf_counter()
        recipe = replace(
            self.recipe, name=job.name, region=self.region(job.arm), seed=self.recipe.seed + seed
        )
        finished = (out / f"{job.name}.json").is_file()
        train(
            recipe,
            self.database,
            out,
            split=self.split,
            lungs=self.lungs_of(job),
            gate=None,
            context=self.context,
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

    def device(self, jobs: Iterable[_Job]) -> str:
        """Where the networks were trained, as their cards say."""
        devices = {
            load_card(self.run_folder(job, 0) / f"{job.name}.safetensors").versions.get("device", "?")
            for job in jobs
            if job.arm.region
        }
        return ", ".join(sorted(devices)) or "cpu"

    def _fit_features(self, job: _Job) -> None:
        path = self.answers_path(job, 0)
        if path.is_file():
            return
        lungs, sets = self.lungs_of(job), {}
        for part in PARTS:
            films = [lungs[record.file] for record in self.split.select(self.database.records, part)]
            sets[part] = read_features(films, job.arm.features, self.context.progress), self.labels(part)
        model = fit_features(
            job.arm.features,
            sets["train"],
            sets["validation"],
            balanced=self.recipe.balance != "none",
            seed=self.recipe.seed,
        )
        count = len(self.database.classes)
        validation = feature_logits(model, sets["validation"][0], count)
        temperature = fit_temperature(validation, sets["validation"][1])
        _write_arrays(path, {job.name: feature_logits(model, sets["test"][0], count) / temperature})

    def answers(self, job: _Job, seeds: int, shown: _Job, others: Sequence[_Job]) -> list[Answers]:
        """Answers of an arm's models, one a seed, to the test views of an arm.

        `others` are the arms whose views a model is shown while it is loaded; stored answers are read.
        """
        labels, groups = self.labels("test"), tuple(groups_of(self.test, self.split))
        files = tuple(record.file for record in self.test)
        runs = []
        for seed in range(seeds if job.arm.region else 1):
            stored = _read_arrays(self.answers_path(job, seed))
            if shown.name not in stored:
                stored = self._ask(job, seed, stored, others)
            logits = stored[shown.name]
            runs.append(Answers(job.name, self.database.classes, files, groups, labels, logits))
        return runs

    def _ask(
        self, job: _Job, seed: int, stored: dict[str, Floats], others: Sequence[_Job]
    ) -> dict[str, Floats]:
        weights = self.run_folder(job, seed) / f"{job.name}.safetensors"
        classifier = Classifier.load(find_weights(weights), self.context.device)
        for other in others:
            if other.name not in stored:
                logits = view_logits(classifier, self._test_views(other, classifier.card.input_size))
                stored[other.name] = logits / classifier.card.temperature
        _write_arrays(self.answers_path(job, seed), stored)
        return stored

    def _test_views(self, job: _Job, size: int) -> View:
        """Test views of an arm, kept for the other models that are shown them."""
        if job.name not in self.views:
            lungs, region = self.lungs_of(job), self.region(job.arm)
            films = [lungs[record.file] for record in self.test]
            tone, progress = self.recipe.tone, self.context.progress
            self.views[job.name] = region_views(films, region, size, progress, tone=tone)
        return self.views[job.name]


def _tables(bench: _Bench, jobs: Sequence[_Job], seeds: int, n_resamples: int) -> tuple[Rows, Rows, Rows]:
    """Figures of each arm, its differences from the whole image, and models shown other arms' views."""
    by_name = {job.name: job for job in jobs}
    networks = [job for job in jobs if job.arm.region]
    options = {"n_resamples": n_resamples, "seed": bench.recipe.seed}
    own = compare(
        {job.name: bench.answers(job, seeds, job, networks) for job in jobs}, reference=REFERENCE, **options
    )
    rows = [{**by_name[row["model"]].columns(), **_without(row, "model")} for row in own.metrics]
    renamed = {"only_first": "only_reference", "only_second": "only_arm"}
    differences = [
        {
            **by_name[row["second"]].columns(),
            **{renamed.get(key, key): value for key, value in _without(row, "first", "second").items()},
        }
        for row in own.differences
    ]
    swaps: Rows = []
    for shown in networks:
        runs = {job.name: bench.answers(job, seeds, shown, networks) for job in networks}
        swaps += [
            {
                **by_name[row["model"]].columns("trained", "trained_masks"),
                **shown.columns("tested", "tested_masks"),
                **_without(row, "model", "class"),
            }
            for row in compare(runs, reference="", **options).metrics
            if row["metric"] in _SWAPPED
        ]
    return rows, differences, swaps


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names}


def _read_arrays(path: Path) -> dict[str, Floats]:
    if not path.is_file():
        return {}
    with path.open("rb") as file, np.load(file) as stored:
        return {name: stored[name] for name in stored.files}


def _write_arrays(path: Path, arrays: Mapping[str, Floats]) -> None:
    with atomic_write(path) as file:
        np.savez(file, **dict(arrays))  # type: ignore[arg-type]
