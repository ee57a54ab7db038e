"""Conformal sets, fitted on calibration images and measured on others; :mod:`lungcls.conformal` uses them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lungcls.conformal import nonconformity
from lungcls.evaluation.bootstrap import group_resamples
from lungcls.evaluation.calibration import MetricValues, check_labels, divide

logger = logging.getLogger(__name__)

SCORE: Final = "lac"
"""Chosen on the validation part, by the smallest sets that hold each class (``benchmarks/trust.py``)."""

COVERAGES: Final = (0.8, 0.9, 0.95, 0.99)
"""Those that are reported; the stored scores answer for any other too."""

# What is kept of the scores: all that these coverages need, so that a card stays small however many images it
# was calibrated on. Between two of them the next higher one answers, which errs on the side of coverage.
_KEPT: Final = np.concatenate([np.arange(0.01, 0.8, 0.01), np.arange(0.8, 1.0, 0.0025)])
_DIGITS: Final = 7
_EPSILON: Final = 1e-9


def fit_conformal(
    probabilities: ArrayLike,
    labels: ArrayLike,
    groups: Iterable[Any],
    classes: Sequence[str],
    *,
    score: str = SCORE,
    by_class: bool = True,
) -> dict[str, Any]:
    """Make what a card stores for conformal sets.

    Parameters
    ----------
    probabilities : array-like, shape [N, K]
        Calibrated, of images that the model was not trained on.
    labels : array-like of int, shape [N]
    groups : iterable, length N
        Group of each image (patient, or near duplicates). Groups, not images, are taken as exchangeable: all
        images of a group together count as one. An unknown one ("" or None) is a group of its own.
    classes : sequence of str, length K
    score : str
        One of :data:`lungcls.conformal.SCORES`.
    by_class : bool, default=True
        Calibrate each class on its own images, so that each is held as often as is asked for. False pools
        them: on average that often, rare or hard classes less.

    Returns
    -------
    dict
        ``score``, and for each of ``classes``: ``images``, ``groups``, and rising lists ``below`` and
        ``scores``: how many groups have a score of at most so much.

    Raises
    ------
    DataError
        If the shapes do not match or a label is out of range.
    """
    values = np.asarray(probabilities, np.float64)
    truth = check_labels(labels, values.shape)
    codes = group_resamples(groups, 0).codes
    fits = nonconformity(values, score)[np.arange(len(truth)), truth]
    stored = {}
    for index, name in enumerate(classes):
        own = truth == index if by_class else np.ones(len(truth), np.bool_)
        if not own.any():
            logger.warning("no calibration image is of the class %s: it will be in every conformal set", name)
        stored[name] = _kept(fits[own], codes[own])
    return {"score": score, "classes": stored}


def conformal_metrics(
    labels: NDArray[np.int64],
    sets: NDArray[np.bool_],
    weights: NDArray[np.float64],
    classes: Sequence[str],
) -> MetricValues:
    """Measure sets of classes under each row of weights.

    Parameters
    ----------
    labels : ndarray of int, shape [N]
    sets : ndarray of bool, shape [N, K]
    weights : ndarray, shape [R, N]
    classes : sequence of str, length K

    Returns
    -------
    dict
        Keys are (metric, class), class "" for all images, else those whose true class it is: ``coverage``
        (share of sets with the true class), ``set_size`` (mean) and ``single`` (share of sets of one class).
        Values [R], nan where undefined.
    """
    covered = sets[np.arange(len(labels)), labels].astype(np.float64)
    size = sets.sum(axis=1).astype(np.float64)
    single = (size == 1).astype(np.float64)
    metrics: MetricValues = {}
    for index, name in ((None, ""), *enumerate(classes)):
        rows = weights if index is None else weights * (labels == index)
        total = rows.sum(axis=1)
        for metric, values in (("coverage", covered), ("set_size", size), ("single", single)):
            metrics[metric, name] = divide(rows @ values, total)
    return metrics


def _kept(fits: NDArray[np.float64], codes: NDArray[np.int64]) -> dict[str, Any]:
    """Thin one class's scores out to the ranks that are asked for."""
    _, own, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    groups = len(sizes)
    # Rounded up: a score that is stored too low would lower the coverage.
    rounded = np.ceil(fits * 10**_DIGITS - _EPSILON) / 10**_DIGITS
    scores, place = np.unique(rounded, return_inverse=True)
    below = np.cumsum(np.bincount(place, weights=1 / sizes[own], minlength=len(scores)))
    ranks = np.unique(np.searchsorted(below, _KEPT * (groups + 1) - _EPSILON, side="left"))
    ranks = ranks[ranks < len(scores)]
    return {
        "images": len(fits),
        "groups": groups,
        "below": [_short(value) for value in below[ranks].tolist()],
        "scores": [round(value, _DIGITS) for value in scores[ranks].tolist()],
    }


def _short(value: float) -> float | int:
    """Whole numbers as such; others rounded down, since a weight stored too high would lower the coverage."""
    nearest = round(value)
    return nearest if abs(value - nearest) < _EPSILON else math.floor(value * 1e4) / 1e4
