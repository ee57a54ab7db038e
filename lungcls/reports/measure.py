"""A trained classifier on a part of a dataset, and what it costs to run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.classifier import Classifier
from lungcls.data.dataset import Record
from lungcls.data.splits import Split
from lungcls.evaluation.calibration import softmax
from lungcls.evaluation.evaluate import groups_of, logits_on
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.reports.answers import Answers
from lungcls.weights import count_parameters, find_weights

_WARM, _RUNS = 2, 9


def measure(
    weights: str | Path,
    records: Sequence[Record],
    lungs: Mapping[str, Lungs],
    *,
    name: str = "",
    split: Split | None = None,
    device: str = "auto",
    progress: Progress[Any] = quiet,
) -> Answers:
    """Run a classifier over images and time it on the CPU.

    Parameters
    ----------
    weights : str or path-like
        A released name or the path of a weight file.
    records : sequence of Record
    lungs : mapping of str to Lungs
        By image file.
    name : str, optional
        By default the weights'.
    split : Split, optional
        Whose groups are used where the dataset knows none.
    device : str, default="auto"
    progress : callable, optional

    Returns
    -------
    Answers

    Raises
    ------
    WeightsError
        If the weights cannot be loaded or are not a classifier's.
    DataError
        If an image is of a class that the classifier does not know.
    """
    classifier = Classifier.load(weights, device)
    card = classifier.card
    logits, labels = logits_on(records, lungs, classifier, progress=progress)
    path = find_weights(weights)
    about = {
        "network": str(card.architecture.get("model")),
        "region": classifier.region.name,
        "input_size": card.input_size,
        "parameters": count_parameters(path),
        "bytes": path.stat().st_size,
        "latency_ms": latency(weights),
        "sha256": card.sha256,
    }
    return Answers(
        name or card.name,
        card.classes,
        tuple(record.file for record in records),
        tuple(groups_of(records, split)),
        labels,
        softmax(logits, card.temperature),
        about,
    )


def latency(weights: str | Path) -> float:
    """Return the milliseconds that a network takes for one view on the CPU: the median of a few runs."""
    classifier = Classifier.load(weights, "cpu")
    size = classifier.card.input_size
    view = np.random.default_rng(0).integers(256, size=(1, size, size)).astype(np.uint8)
    times = []
    for _ in range(_WARM + _RUNS):
        start = time.perf_counter()
        classifier.logits(view)
        times.append(time.perf_counter() - start)
    return round(1000 * float(np.median(times[_WARM:])), 2)
