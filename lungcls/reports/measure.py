"""A trained classifier on a study, and what it costs to run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.classifier import Classifier
from lungcls.progress import Progress, quiet
from lungcls.study.answers import Answers
from lungcls.study.study import Study
from lungcls.weights import count_parameters, find_weights

_WARM, _RUNS = 2, 9


def measure(
    study: Study,
    weights: str | Path,
    *,
    name: str = "",
    device: str = "auto",
    progress: Progress[Any] = quiet,
) -> Answers:
    """Ask a classifier and time it on the CPU.

    Parameters
    ----------
    study : Study
    weights : str or path-like
        A released name or the path of a weight file.
    name : str, optional
        By default the weights'.
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
    card, path = classifier.card, find_weights(weights)
    about = {
        "network": str(card.architecture.get("model")),
        "region": classifier.region.name,
        "input_size": card.input_size,
        "parameters": count_parameters(path),
        "bytes": path.stat().st_size,
        "latency_ms": latency(weights),
        "sha256": card.sha256,
    }
    return replace(study.answers(classifier, progress), name=name or card.name, about=about)


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
