"""A pair of stages on a part of a dataset: the figures that a table shows, with all that reproduces them."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split
from lungcls.data.views import find_lungs
from lungcls.errors import DataError
from lungcls.evaluation.calibration import softmax
from lungcls.evaluation.evaluate import N_RESAMPLES, groups_of, logits_on, report_logits, segmentation_on
from lungcls.evaluation.trust import predicted_sets, trust_report
from lungcls.finder import Finder
from lungcls.progress import Progress, quiet
from lungcls.segmenter import Segmenter
from lungcls.versions import package_versions
from lungcls.weights import Card


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes
    ----------
    payload : dict
        JSON-safe: what was evaluated on what, with which versions, and the whole reports.
    rows : list of dict
        One figure each: ``model, metric, class, value, low, high, n``.
    answers : list of dict
        One image and classifier each: ``model, file, group, source, label``, a calibrated probability and a
        ``logit_`` a class, and the conformal set at 90% coverage (``set_0.9``) where the card has one, so
        that every figure can be computed again.
    """

    payload: dict[str, Any]
    rows: list[dict[str, Any]]
    answers: list[dict[str, Any]]


PACKAGES = ("lungcls", "torch", "torchvision", "segmentation-models-pytorch", "numpy", "scikit-image")


def evaluate_release(
    dataset: Dataset,
    records: Sequence[Record],
    finder: Finder,
    classifiers: Sequence[Classifier],
    cache: str | Path,
    *,
    split: Split | None = None,
    part: str = "all",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    progress: Progress[Any] = quiet,
) -> Evaluation:
    """Evaluate both stages.

    Parameters
    ----------
    dataset : Dataset
    records : sequence of Record
        Those to evaluate on.
    finder : Finder
        Its segmenter is evaluated too.
    classifiers : sequence of Classifier
        Each is run on the regions of the lungs that the finder finds. Empty for a dataset without classes.
    cache : path-like
        Folder for what the finder finds.
    split : Split, optional
        That `records` were chosen by.
    part : str, default="all"
        Name of the part, for the record.
    n_resamples : int, default=2000
    seed : int, default=0
        Of the bootstrap.
    progress : callable, optional

    Returns
    -------
    Evaluation

    Raises
    ------
    ImageError
        If an image cannot be read.
    DataError
        If a mask cannot be read, an image is of a class that a classifier does not know, or there is nothing
        to evaluate: neither a classifier nor a lung mask.
    """
    for classifier in classifiers:
        check_classes(dataset, records, classifier.card)
    notes = list(dataset.notes)
    if not any(record.mask for record in records):
        if not classifiers:
            raise DataError(
                f"{dataset.root}: nothing to evaluate; none of the {len(records)} images has a lung mask for "
                "stage 1, and there is no classifier with its classes for stage 2"
            )
        notes.append("none of the images has a lung mask to compare with: stage 1 is not evaluated")
    start = time.perf_counter()
    lungs = find_lungs(dataset, records, finder, cache, progress=progress)
    reports: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    segmenter = finder.segmenter
    if segmenter and any(record.mask for record in records):
        found = segmentation_on(
            dataset,
            records,
            lungs,
            split=split,
            n_resamples=n_resamples,
            seed=seed,
            progress=progress,
        )
        reports[segmenter.card.name] = found.to_dict()
        rows += [{"model": segmenter.card.name, **row} for row in found.to_rows()]
    for classifier in classifiers:
        logits, labels = logits_on(records, lungs, classifier, progress=progress)
        report = report_logits(
            logits, labels, records, classifier.card, split=split, n_resamples=n_resamples, seed=seed
        )
        groups = groups_of(records, split)
        trust = trust_report(logits, labels, groups, classifier.card, n_resamples=n_resamples, seed=seed)
        reports[classifier.card.name] = {**report.to_dict(), "trust": trust.to_dict()}
        figures = [*report.to_rows(), *trust.to_rows()]
        rows += [{"model": classifier.card.name, **row} for row in figures]
        for record, group, named in zip(records, groups, _answers(logits, classifier.card)):
            common = {
                "file": record.file,
                "group": group,
                "source": record.source,
                "label": record.label,
            }
            answers.append({"model": classifier.card.name, **common, **named})
    stages: list[Segmenter | Classifier] = [*([segmenter] if segmenter else []), *classifiers]
    cards = [stage.card for stage in stages]
    payload = {
        "dataset": dataset.root.name,
        "layout": dataset.layout,
        "part": part,
        "images": len(records),
        "split_hash": split.hash if split else None,
        "weights": {card.name: card.sha256 for card in cards},
        "notes": [*notes, *(note for card in cards for note in _trained_on(card, dataset, split, part))],
        "bootstrap": {"resamples": n_resamples, "seed": seed, "by": "group"},
        "device": stages[0].device,
        "versions": {**package_versions(PACKAGES), "machine": platform.machine()},
        "seconds": round(time.perf_counter() - start, 1),
        "reports": reports,
    }
    return Evaluation(payload, rows, answers)


def _answers(logits: npt.NDArray[np.float64], card: Card) -> list[dict[str, Any]]:
    """What a classifier said of each image, in columns."""
    probabilities = softmax(logits, card.temperature)
    sets = predicted_sets(probabilities, card, (0.9,))
    answers = []
    for index in range(len(logits)):
        answer = dict(zip(card.classes, probabilities[index].round(6).tolist()))
        answer |= {
            f"logit_{name}": round(float(value), 4) for name, value in zip(card.classes, logits[index])
        }
        held: dict[str, Any] = {
            f"set_{coverage:g}": ";".join(name for name, inside in zip(card.classes, rows[index]) if inside)
            for coverage, rows in sets.items()
        }
        answers.append({**answer, **held})
    return answers


def unknown_classes(records: Sequence[Record], card: Card) -> list[str]:
    """Return the classes of records that a classifier does not know, sorted."""
    return sorted({record.label for record in records} - set(card.classes))


def check_classes(dataset: Dataset, records: Sequence[Record], card: Card) -> None:
    """Refuse what a classifier cannot be measured on, before the minutes that stage 1 takes.

    Parameters
    ----------
    dataset : Dataset
    records : sequence of Record
        Of `dataset`.
    card : Card
        Of the classifier.

    Raises
    ------
    DataError
        If the dataset has no classes, or a record is of a class that the classifier does not know.
    """
    if not dataset.classes:
        raise DataError(
            f"{dataset.root} (layout {dataset.layout}) has no classes; {card.name} needs images of "
            f"the classes {', '.join(card.classes)}"
        )
    unknown = unknown_classes(records, card)
    if unknown:
        raise DataError(
            f"{dataset.root} has images of the classes {', '.join(map(repr, unknown))}, which {card.name} "
            f"does not know; it knows {', '.join(card.classes)}. Give the images these classes with "
            "--classes (such as --classes four, or a TOML file)"
        )


def _trained_on(card: Card, dataset: Dataset, split: Split | None, part: str) -> list[str]:
    """Warn where weights may have learnt from the images that they are measured on."""
    if split is None and card.training_data.get("dataset") == dataset.title:
        return [f"{card.name} was trained on part of these images: its figures on all of them are too high"]
    return split_notes(card, split, part)


def split_notes(card: Card, split: Split | None, part: str) -> list[str]:
    """Warn where weights were trained with another split than the one that a part was chosen by."""
    if split is None:
        return []
    trained = {card.name: card.training_data.get("split_hash"), **card.training_data.get("other_splits", {})}
    return [
        f"{name} was trained with the split {used}, the part {part!r} is of the split {split.hash}: some of "
        "its images may have been trained on, and the figures may be too high"
        + ("" if name == card.name else f" ({card.name} rests on it)")
        for name, used in trained.items()
        if used != split.hash
    ]
