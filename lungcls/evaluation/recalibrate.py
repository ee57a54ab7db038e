"""Temperature and conformal scores of a classifier from images that it was not trained on, into its card."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split
from lungcls.data.views import Progress, predicted_masks, quiet
from lungcls.errors import DataError
from lungcls.evaluation.calibration import fit_temperature, softmax
from lungcls.evaluation.conformal import SCORE, fit_conformal
from lungcls.evaluation.evaluate import N_RESAMPLES, groups_of, logits_on
from lungcls.evaluation.trust import TrustReport, trust_report
from lungcls.files import atomic_write, file_sha256
from lungcls.segmenter import Segmenter
from lungcls.weights import Card, find_weights, write_card


@dataclass(frozen=True, eq=False)
class Recalibration:
    """What calibrating anew found.

    Attributes
    ----------
    card : Card
        With the new temperature and conformal scores.
    before, after : TrustReport
        Of the old and the new card, on the images that the new one was fitted on.
    """

    card: Card
    before: TrustReport
    after: TrustReport


def calibrated(
    card: Card,
    logits: ArrayLike,
    labels: ArrayLike,
    groups: Iterable[Any],
    data: dict[str, Any],
    *,
    score: str = SCORE,
) -> Card:
    """Return a card with temperature and conformal scores fitted anew: the end of training, and the command.

    Parameters
    ----------
    card : Card
    logits : array-like, shape [N, K]
        The network's raw outputs on images that it was not trained on.
    labels : array-like of int, shape [N]
    groups : iterable, length N
        See :func:`lungcls.evaluation.conformal.fit_conformal`.
    data : dict
        What the images are, for the record; JSON-safe.
    score : str
        One of :data:`lungcls.conformal.SCORES`.

    Returns
    -------
    Card

    Raises
    ------
    DataError
        If the shapes do not match, a logit is not finite, or a label is out of range.

    Notes
    -----
    The temperature is fitted on the same images as the conformal scores. It is one number and keeps the order
    of the classes, so that what this costs in coverage is far below the sampling error.
    """
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits, temperature)
    stored = fit_conformal(probabilities, labels, groups, card.classes, score=score)
    return replace(card, temperature=temperature, conformal={**stored, "data": data})


def recalibrate(
    dataset: Dataset,
    records: Sequence[Record],
    segmenter: Segmenter,
    classifier: Classifier,
    cache: str | Path,
    *,
    split: Split | None = None,
    part: str = "all",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    progress: Progress[Any] = quiet,
) -> Recalibration:
    """Run a classifier on a dataset and calibrate it there.

    Parameters
    ----------
    dataset : Dataset
    records : sequence of Record
        Images that the classifier was not trained on.
    segmenter : Segmenter
    classifier : Classifier
    cache : path-like
        Folder for predicted masks.
    split : Split, optional
        That `records` were chosen by.
    part : str, default="all"
        Name of the part, for the record.
    n_resamples, seed : int
        Of the bootstrap.
    progress : callable, optional

    Returns
    -------
    Recalibration

    Raises
    ------
    ImageError
        If an image cannot be read.
    DataError
        If there are no images, or one is of a class that the classifier does not know.
    """
    masks = {}
    if classifier.region.needs_mask:
        masks = predicted_masks(dataset, records, segmenter, cache, progress=progress)
    logits, labels = logits_on(dataset, records, masks, classifier, progress=progress)
    groups = groups_of(records, split)
    card = calibrated(
        classifier.card, logits, labels, groups, calibration_data(dataset, records, part, split)
    )
    reports = [
        trust_report(logits, labels, groups, each, n_resamples=n_resamples, seed=seed)
        for each in (classifier.card, card)
    ]
    return Recalibration(card, *reports)


def calibration_data(
    dataset: Dataset, records: Sequence[Record], part: str, split: Split | None
) -> dict[str, Any]:
    """Say for the card what a classifier was calibrated on."""
    return {
        "dataset": dataset.root.name,
        "part": part,
        "split_hash": split.hash if split else None,
        "images": dict(sorted(Counter(record.label for record in records).items())),
    }


def write_calibrated(card: Card, weights: str | Path, out: str | Path) -> Path:
    """Write a card beside a copy of its weights.

    Parameters
    ----------
    card : Card
    weights : str or path-like
        The weights that the card is of, by released name or path.
    out : path-like
        A folder, where both files get the weights' own name (the folder of the weights themselves replaces
        their card), or the path of the new ``.safetensors`` file.

    Returns
    -------
    Path
        Of the ``.safetensors`` file.

    Raises
    ------
    WeightsError
        If there are no such weights.
    DataError
        If `out` would overwrite other weights, or `weights` is a file that ``lungcls export`` wrote.
    """
    source = find_weights(weights)
    if source.suffix != ".safetensors":
        raise DataError(
            f"{source}: an exported file is not copied; calibrate the .safetensors file that it was made of, "
            "and export that"
        )
    target = Path(out)
    if target.suffix != ".safetensors":
        target = target / source.name
    if target.exists():
        # The same weights may be calibrated again and again, in their own folder too.
        if file_sha256(target) != card.sha256:
            raise DataError(f"{target} holds other weights than {source}; give another --out")
    else:
        with source.open("rb") as content, atomic_write(target) as copy:
            shutil.copyfileobj(content, copy)
    write_card(target, replace(card, name=target.stem))
    return target
