"""All checks of one model on one dataset."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split
from lungcls.errors import DataError
from lungcls.evaluation.evaluate import groups_of
from lungcls.evaluation.reading import copies_of
from lungcls.evaluation.release import split_notes
from lungcls.explanation.boxes import FloatBox
from lungcls.explanation.maps import backend
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.shortcuts import (
    attention,
    external,
    leakage,
    pairs,
    parts,
    processing,
    robustness,
    source,
    swap,
    trainings,
)
from lungcls.shortcuts.check import Check, untold
from lungcls.shortcuts.sample import Trial, read_sample
from lungcls.shortcuts.subject import ClassifierSubject, FeatureSubject, Subject
from lungcls.versions import package_versions

logger = logging.getLogger(__name__)

PACKAGES: Final = ("lungcls", "torch", "torchvision", "numpy", "scikit-learn", "scipy", "grad-cam")

CHECKS: Final[tuple[str, ...]] = (
    swap.NAME,
    source.NAME,
    pairs.NAME,
    trainings.LEFT_OUT[0],
    leakage.NAME,
    robustness.NAME,
    parts.NAME,
    processing.NAME,
    attention.NAME,
    external.NAME,
)
"""The ten checks by name, in the order of their numbers."""


@dataclass(frozen=True, eq=False)
class External:
    """An external set with its lungs.

    Attributes
    ----------
    database : Dataset
    lungs : mapping of str to Lungs
        By image file.
    """

    database: Dataset
    lungs: Mapping[str, Lungs]


@dataclass(frozen=True, eq=False)
class Examination:
    """What the checks found of one model.

    Attributes
    ----------
    name : str
        Of the model.
    checks : list of Check
    payload : dict
        JSON-safe: the verdicts, all figures, and what reproduces them.
    """

    name: str
    checks: list[Check]
    payload: dict[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """Return every figure as one row: ``model, check, verdict`` and the check's own columns."""
        return [
            {"model": self.name, "check": check.name, "verdict": check.verdict, **row}
            for check in self.checks
            for row in check.rows
        ]


def examine(
    subject: Subject,
    database: Dataset,
    records: Sequence[Record],
    lungs: Mapping[str, Lungs],
    *,
    split: Split | None = None,
    part: str = "all",
    checks: Sequence[str] = CHECKS,
    boxes: Mapping[str, list[FloatBox]] | None = None,
    externals: Mapping[str, External] | None = None,
    training: trainings.Trainings | None = None,
    per_pair: int = 50,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Progress[Any] = quiet,
) -> Examination:
    """Examine a model.

    Parameters
    ----------
    subject : Subject
    database : Dataset
    records : sequence of Record
        Images that the model was not trained on. Those without a usable mask, or of classes that the model
        does not know, are left out and counted.
    lungs : mapping of str to Lungs
        By image file.
    split : Split, optional
        That `records` were chosen by; its training part is compared with them.
    part : str, default="all"
        Name of the part, for the record.
    checks : sequence of str
        Names of :data:`CHECKS`.
    boxes : mapping of str to list of boxes, optional
        Where radiologists saw something (:func:`lungcls.explanation.read_boxes`).
    externals : mapping of str to External, optional
        By name.
    training : Trainings, optional
        With it, checks 4, 5 and 8 train models of their own.
    per_pair : int, default=50
        Composites of each pair of classes in check 1.
    n_resamples, seed : int
    progress : callable, optional

    Returns
    -------
    Examination

    Raises
    ------
    DataError
        If a check is unknown or no image is left.
    ImageError
        If an image cannot be read.
    MissingExtraError
        If the packages of the extra ``explain`` are missing, which check 9 needs.
    """
    start = time.perf_counter()
    if unknown := sorted(set(checks) - set(CHECKS)):
        raise DataError(f"unknown checks {', '.join(unknown)}; the checks are {', '.join(CHECKS)}")
    if attention.NAME in checks and isinstance(subject, FeatureSubject):
        backend("hirescam")  # a missing package is told before minutes of work, not after
    trial, left_out = _trial(subject, database, records, lungs, split, n_resamples, seed, progress)
    trained = split.select(database.records, "train") if split and part != "train" else []
    abroad: dict[str, Trial] = {}
    dropped: dict[str, int] = {}
    for name, other in (externals or {}).items() if external.NAME in checks else ():
        abroad[name], dropped[name] = _abroad(trial, database, trained, other, progress)
    runs: dict[str, Callable[[], Check]] = {
        swap.NAME: lambda: swap.background_swap(trial, per_pair),
        source.NAME: lambda: source.source_prediction(trial),
        pairs.NAME: lambda: pairs.same_source_pairs(trial),
        trainings.LEFT_OUT[0]: lambda: untold(*trainings.LEFT_OUT, "it needs trainings (--train-checks)"),
        leakage.NAME: lambda: leakage.leakage(trial, database, trained, progress),
        robustness.NAME: lambda: robustness.robustness(trial),
        parts.NAME: lambda: parts.region_decomposition(trial),
        processing.NAME: lambda: processing.processing(trial),
        attention.NAME: lambda: attention.attention(trial, boxes),
        external.NAME: lambda: external.external(trial, abroad, dropped),
    }
    found = []
    for name in progress(
        [name for name in CHECKS if name in checks], len(checks), f"examining {subject.name}"
    ):
        if training is not None and name == trainings.LEFT_OUT[0]:
            continue
        began = time.perf_counter()
        found.append(runs[name]())
        logger.info("%s: %s, %.1f s", name, found[-1].verdict, time.perf_counter() - began)
    if training is not None:
        found += trainings.train_checks(trial, training)
    card = subject.card if isinstance(subject, ClassifierSubject) else None
    payload = {
        "model": subject.name,
        "weights": card.sha256 if card else None,
        "region": subject.region.to_dict(),
        "dataset": database.root.name,
        "part": part,
        "images": len(trial.sample),
        "left_out": left_out,
        "split_hash": split.hash if split else None,
        "notes": split_notes(card, split, part) if card else [],
        "accuracy": float(trial.right.mean()),
        "recipe": training.recipe.to_dict() if training else None,
        "bootstrap": {"resamples": n_resamples, "seed": seed, "by": "group"},
        "verdicts": {check.name: check.verdict for check in found},
        "checks": [check.to_dict() for check in found],
        "versions": {**package_versions(PACKAGES), "machine": platform.machine()},
        "device": str(getattr(subject, "device", "?")),
        "seconds": round(time.perf_counter() - start, 1),
    }
    return Examination(subject.name, found, payload)


def _trial(
    subject: Subject,
    database: Dataset,
    records: Sequence[Record],
    lungs: Mapping[str, Lungs],
    split: Split | None,
    n_resamples: int,
    seed: int,
    progress: Progress[Any],
) -> tuple[Trial, int]:
    usable = [
        record
        for record in records
        if record.label in subject.classes and record.file in lungs and lungs[record.file].quality.both_lungs
    ]
    if not usable:
        raise DataError(
            f"{database.root}: none of {len(records)} images has a usable lung mask and a class that the "
            f"model knows ({', '.join(subject.classes)})"
        )
    groups = [split.groups[r.file] for r in usable] if split else groups_of(usable)
    largest = max(512, subject.input_size)
    sample = read_sample(usable, lungs, groups, largest, progress)
    return Trial(subject, sample, n_resamples, seed), len(records) - len(usable)


def _abroad(
    trial: Trial, database: Dataset, trained: Sequence[Record], other: External, progress: Progress[Any]
) -> tuple[Trial, int]:
    """The external trial without near duplicates of training images, and how many these were."""
    found, _ = _trial(
        trial.subject,
        other.database,
        other.database.records,
        other.lungs,
        None,
        trial.n_resamples,
        trial.seed,
        progress,
    )
    if not trained:
        return found, 0
    copied = copies_of(other.database, found.sample.records, database, trained, progress=progress)
    return found.of(~copied), int(copied.sum())
