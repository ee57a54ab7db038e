"""How far probabilities are from how often they are right, with intervals that hold it.

The usual calibration error is a sum of absolute gaps, which chance alone makes larger: it is above 0 for a
perfectly calibrated model, and each resample of the bootstrap adds to it. Here labels are drawn from
probabilities that are off by a known amount, and what was observed is looked up among what such labels give.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import Estimate, GroupResamples, group_resamples
from lungcls.evaluation.calibration import ECE_BINS, check_labels, confidence_bins

Floats = NDArray[np.float64]
Key = tuple[str, str]

DRAWS: Final = 400
_SCALES: Final = np.concatenate([np.linspace(0, 1.5, 16), np.linspace(1.75, 4, 10)])


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """A calibration error and whether chance would give it.

    Attributes
    ----------
    plain : float
        The usual, biased figure, as :func:`lungcls.evaluation.calibration.expected_calibration_error`.
    estimate : Estimate
        With what chance adds taken off, and the interval of that; never outside of it.
    p : float
        How often a perfectly calibrated model would show a plain figure at least as large.
    """

    plain: float
    estimate: Estimate
    p: float


def calibration_errors(
    probabilities: ArrayLike,
    labels: ArrayLike,
    groups: Iterable[Any],
    classes: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> dict[Key, CalibrationError]:
    """Measure calibration errors without the bias of the usual figure.

    Parameters
    ----------
    probabilities : array-like, shape [N, K]
        Each row sums to 1.
    labels : array-like of int, shape [N]
    groups : iterable, length N
        Images of one group share the chance that decides their labels: they are no independent evidence.
    classes : sequence of str, length K
    draws : int, default=400
        Sets of labels at each of the amounts of miscalibration that are tried.
    seed : int, default=0
    level : float, default=0.95
        Coverage of the intervals.

    Returns
    -------
    dict of CalibrationError
        By (metric, class): ``("ece", "")`` of the highest probability, ``("ece", class)`` of each class that
        has images, ``("classwise_ece", "")`` their mean.

    Raises
    ------
    DataError
        If shapes do not match or a label is out of range.

    Notes
    -----
    Within each of 15 bins the observed gap tells the direction in which probabilities are off; they are
    moved by 0 to 4 times that gap, and labels drawn from them. The interval holds the amounts under which the
    observed figure is no surprise, the estimate is the one under which it is the median. At 0 this is the
    consistency test of Broecker and Smith.

    References
    ----------
    Broecker, Smith (2007), Increasing the reliability of reliability diagrams, Weather and Forecasting 22(3).
    Kumar, Liang, Ma (2019), Verified uncertainty calibration, NeurIPS (the bias of the plug-in figure).
    Roelofs, Cain, Shlens, Mozer (2022), Mitigating bias in calibration error estimation, AISTATS.
    """
    values = np.asarray(probabilities, np.float64)
    truth = check_labels(labels, values.shape)
    codes = group_resamples(groups, 0).codes
    if len(codes) != len(truth):
        raise DataError(f"{len(codes)} groups for {len(truth)} images; expected one group an image")
    # One chance a group, the same at every amount that is tried.
    chance = np.random.default_rng(seed).random((draws, int(codes.max()) + 1))[:, codes]
    confidence = values.max(axis=1)
    right = values.argmax(axis=1) == truth
    top = _Binned(confidence)

    drawn, moved = [], []
    for scale in _SCALES:
        shifted = np.clip(confidence + scale * top.observed(right), 0, 1)
        drawn.append(top.error(chance < shifted))
        moved.append(float(top.error(shifted[None])[0]))
    errors = {("ece", ""): _looked_up(float(top.error(right[None])[0]), drawn, moved, level)}

    own = [_Binned(values[:, k]) for k in range(len(classes))]
    present = [k for k in range(len(classes)) if (truth == k).any()]
    gaps = np.stack([one.observed(truth == k) for k, one in enumerate(own)], axis=1)
    by_class: list[Floats] = []
    moved_class: list[Floats] = []
    for scale in _SCALES:
        shifted = np.clip(values + scale * gaps, 0, None)
        shifted /= np.maximum(shifted.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        # Which class each chance falls on: the number of classes whose summed probability is below it.
        ends = np.cumsum(shifted, axis=1)[:, :-1]
        fallen = np.sum([chance > ends[:, k] for k in range(ends.shape[1])], axis=0)
        by_class.append(np.stack([own[k].error(fallen == k) for k in present]))
        moved_class.append(np.stack([own[k].error(shifted[None, :, k])[0] for k in present]))
    plain = [float(own[k].error((truth == k)[None])[0]) for k in present]
    for place, k in enumerate(present):
        one = [errors[place] for errors in by_class]
        errors["ece", classes[k]] = _looked_up(plain[place], one, [m[place] for m in moved_class], level)
    means = [errors.mean(axis=0) for errors in by_class]
    moved = [float(m.mean()) for m in moved_class]
    errors["classwise_ece", ""] = _looked_up(float(np.mean(plain)), means, moved, level)
    return errors


def with_calibration_errors(
    estimates: dict[Key, Estimate],
    probabilities: Floats,
    labels: NDArray[np.int64],
    resamples: GroupResamples,
    classes: Sequence[str],
    level: float = 0.95,
) -> dict[Key, Estimate]:
    """Take the intervals off plain calibration errors, and put the debiased ones beside them.

    Parameters
    ----------
    estimates : dict of Estimate
        By (metric, class), with percentile intervals.
    probabilities : float array [N, K]
    labels : int64 array [N]
    resamples : GroupResamples
        Whose groups and seed are used; with none of them, or a single group, nothing is added.
    classes : sequence of str
    level : float

    Returns
    -------
    dict of Estimate
        With ``ece_debiased`` and ``classwise_ece_debiased`` over all classes, and ``calibration_p``.
    """
    plain = {
        key: Estimate(one.value) if key[0] in ("ece", "classwise_ece") else one
        for key, one in estimates.items()
    }
    if resamples.n_groups < 2 or not len(resamples):
        return plain
    errors = calibration_errors(
        probabilities, labels, resamples.codes, classes, seed=resamples.seed, level=level
    )
    return {
        **plain,
        ("ece_debiased", ""): errors["ece", ""].estimate,
        ("classwise_ece_debiased", ""): errors["classwise_ece", ""].estimate,
        ("calibration_p", ""): Estimate(errors["ece", ""].p),
    }


class _Binned:
    """Probabilities [N] in bins of equal width."""

    def __init__(self, confidence: Floats) -> None:
        self.confidence = confidence
        self.member = np.eye(ECE_BINS)[confidence_bins(confidence)]

    def error(self, outcomes: NDArray[Any]) -> Floats:
        """Calibration error of each row of outcomes [r, N], or of probabilities of them."""
        gaps = (outcomes - self.confidence) @ self.member
        return np.asarray(np.abs(gaps).sum(axis=1) / len(self.confidence))

    def observed(self, outcome: NDArray[np.bool_]) -> Floats:
        """Mean of outcome minus probability over each image's bin, [N]."""
        counts = np.maximum(self.member.sum(axis=0), 1)
        return np.asarray(self.member @ (((outcome - self.confidence) @ self.member) / counts))


def _looked_up(plain: float, drawn: list[Floats], moved: list[float], level: float) -> CalibrationError:
    """Find the amounts of miscalibration under which a figure is no surprise."""
    tail = (1 - level) / 2
    curves = np.maximum.accumulate(np.quantile(np.stack(drawn), [1 - tail, 0.5, tail], axis=1), axis=1)
    true = np.maximum.accumulate(moved)
    low, middle, high = (float(np.interp(plain, curve, true, left=0.0)) for curve in curves)
    p = float((np.count_nonzero(drawn[0] >= plain) + 1) / (len(drawn[0]) + 1))
    if math.isnan(plain):
        return CalibrationError(plain, Estimate(plain), math.nan)
    return CalibrationError(plain, Estimate(middle, low, high), p)
