"""Both stages on a part of a dataset, through the same code as prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split
from lungcls.data.views import region_views
from lungcls.errors import DataError
from lungcls.evaluation.calibration import softmax
from lungcls.evaluation.classification import ClassificationReport, classification_report
from lungcls.evaluation.segmentation import MaskScore, SegmentationReport, score_mask, segmentation_report
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.regions import View, resize_mask
from lungcls.weights import Card

N_RESAMPLES = 2000


def segmentation_on(
    database: Dataset,
    records: Sequence[Record],
    lungs: Mapping[str, Lungs],
    *,
    split: Split | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    progress: Progress[Record] = quiet,
) -> SegmentationReport:
    """Compare predicted lung masks with the true ones, at each image's own size.

    Parameters
    ----------
    database : Dataset
    records : sequence of Record
        Those without a mask are left out.
    lungs : mapping of str to Lungs
        By image file (:func:`lungcls.data.views.find_lungs`).
    split : Split, optional
        Whose groups the bootstrap draws.
    n_resamples : int, default=2000
    seed : int, default=0
        Of the bootstrap.
    progress : callable, optional

    Returns
    -------
    SegmentationReport

    Raises
    ------
    DataError
        If no record has a mask, or a mask cannot be read.
    """
    chosen = [record for record in records if record.mask]
    scores: list[MaskScore] = []
    for record in progress(chosen, len(chosen), "comparing lung masks"):
        predicted = lungs[record.file].mask
        height, width = predicted.shape
        scores.append(score_mask(predicted, resize_mask(database.read_mask(record), (height, width))))
    groups = groups_of(chosen, split)
    # Sets of lung masks have no classes.
    labels = [record.label for record in chosen] if any(record.label for record in chosen) else None
    return segmentation_report(scores, groups, labels, n_resamples=n_resamples, seed=seed)


def logits_on(
    records: Sequence[Record],
    lungs: Mapping[str, Lungs],
    classifier: Classifier,
    *,
    batch_size: int = 64,
    progress: Progress[int] = quiet,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Run a classifier over a dataset.

    Parameters
    ----------
    records : sequence of Record
    lungs : mapping of str to Lungs
        By image file (:func:`lungcls.data.views.find_lungs`).
    classifier : Classifier
    batch_size : int, default=64
    progress : callable, optional

    Returns
    -------
    logits : float64 array [N, K]
    labels : int64 array [N]
        Index of the true class in the classifier's order.

    Raises
    ------
    ImageError
        If an image cannot be read.
    DataError
        If a record is of a class that the classifier does not know.
    """
    labels = _indices(records, classifier.card)
    card = classifier.card
    films = [lungs[record.file] for record in records]
    views = region_views(films, classifier.region, card.input_size, progress, tone=card.tone)
    return view_logits(classifier, views, batch_size=batch_size, progress=progress), labels


def view_logits(
    classifier: Classifier, views: View, *, batch_size: int = 64, progress: Progress[int] = quiet
) -> npt.NDArray[np.float64]:
    """Return the logits float64 [N, K] of any number of views uint8 [N, S, S], a batch at a time."""
    starts = range(0, len(views), batch_size)
    parts = [
        classifier.logits(views[start : start + batch_size])
        for start in progress(starts, len(starts), f"running {classifier.card.name}")
    ]
    return np.concatenate(parts).astype(np.float64)


def groups_of(records: Sequence[Record], split: Split | None = None) -> list[str]:
    """Return the group of each record: what the split kept together, else the dataset's own or the patient.

    Parameters
    ----------
    records : sequence of Record
    split : Split, optional

    Returns
    -------
    list of str
        Empty where nothing is known of an image, which is then a group of its own.
    """
    known = split.groups if split else {}
    # A split joins groups and patients that share a film, so that its own groups are the larger ones.
    return [known.get(record.file) or record.group or record.patient for record in records]


def report_logits(
    logits: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    records: Sequence[Record],
    card: Card,
    *,
    split: Split | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> ClassificationReport:
    """Report a classifier's logits, calibrated by its card's temperature, with intervals by group.

    Parameters
    ----------
    logits, labels
        As :func:`logits_on` returns them for `records`.
    records : sequence of Record
    card : Card
    split : Split, optional
        Whose groups are used where the dataset knows none.
    n_resamples : int, default=2000
    seed : int, default=0

    Returns
    -------
    ClassificationReport
    """
    return classification_report(
        labels,
        softmax(logits, card.temperature),
        groups_of(records, split),
        card.classes,
        n_resamples,
        seed,
        majority_class=_majority(card),
    )


def _majority(card: Card) -> str | None:
    """The class that the baseline always says: the most common in training, not in the part evaluated on."""
    counts: dict[str, int] = card.training_data.get("images", {}).get("train", {})
    return max(counts, key=lambda name: counts[name]) if counts else None


def _indices(records: Sequence[Record], card: Card) -> npt.NDArray[np.int64]:
    """The index of each record's class in the card's order."""
    unknown = sorted({record.label for record in records} - set(card.classes))
    if unknown:
        raise DataError(
            f"the dataset has images of the classes {', '.join(map(repr, unknown))}, which {card.name} does "
            f"not know; it knows {', '.join(card.classes)}"
        )
    return np.asarray([card.classes.index(record.label) for record in records], np.int64)
