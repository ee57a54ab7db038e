"""What a classifier's probabilities are worth: calibration, sets, tiers, and whether doubt tells errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lungcls.conformal import in_set, p_values
from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import Estimate, bootstrap_estimates, group_resamples
from lungcls.evaluation.calibration import (
    ECE_BINS,
    calibration_metrics,
    check_labels,
    confidence_bins,
    divide,
    softmax,
)
from lungcls.evaluation.calibration_error import with_calibration_errors
from lungcls.evaluation.classification import weighted_auroc
from lungcls.evaluation.conformal import COVERAGES, conformal_metrics
from lungcls.evaluation.weighted import share
from lungcls.prediction import TIERS, confidence_tier
from lungcls.uncertainty import entropy
from lungcls.weights import Card

BEFORE, AFTER = "uncalibrated", "calibrated"

Key = tuple[str, str]


@dataclass(frozen=True, eq=False)
class TrustReport:
    """What a classifier's probabilities are worth on one sample; see `trust_report`.

    Attributes
    ----------
    temperature : float
    classes : tuple of str
    calibration : dict of dict
        ``uncalibrated`` and ``calibrated``: by (metric, class), the figures of
        :func:`lungcls.evaluation.calibration.calibration_metrics`, and debiased calibration errors
        (:func:`lungcls.evaluation.calibration_error.with_calibration_errors`).
    reliability : dict of list of dict
        The same two: for each bin of confidence that is not empty its ends, number of images, mean confidence
        and accuracy with an interval.
    conformal : dict of dict
        By coverage asked for, then by (metric, class): ``coverage``, ``set_size``, ``single``, and ``empty``:
        how often no class would be in the set, had the most probable one no place in it. Empty where the card
        stores no scores.
    tiers : dict of dict
        By tier: ``images``, and estimates of ``share`` and ``accuracy``.
    error_detection : dict of Estimate
        AUROC of telling wrong from right answers by the measure of that name.
    support : dict of int
        Images by true class, "" for all.
    """

    temperature: float
    classes: tuple[str, ...]
    calibration: dict[str, dict[Key, Estimate]]
    reliability: dict[str, list[dict[str, Any]]]
    conformal: dict[float, dict[Key, Estimate]]
    tiers: dict[str, dict[str, Any]]
    error_detection: dict[str, Estimate]
    support: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return all figures in plain types that JSON can hold; what is undefined is None."""
        return {
            "temperature": self.temperature,
            "calibration": {when: _nested(metrics) for when, metrics in self.calibration.items()},
            "reliability": self.reliability,
            "conformal": {f"{level:g}": _nested(metrics) for level, metrics in self.conformal.items()},
            "tiers": {
                tier: {
                    name: value.to_dict() if isinstance(value, Estimate) else value
                    for name, value in metrics.items()
                }
                for tier, metrics in self.tiers.items()
            },
            "error_detection_auroc": {name: value.to_dict() for name, value in self.error_detection.items()},
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row a figure: metric, class ("" for all), value, low, high, n.

        What the calibrated probabilities share with a ClassificationReport is left out.
        """
        images = self.support[""]
        rows = [
            _row(f"{metric}_{BEFORE}", name, estimate, self.support[name])
            for (metric, name), estimate in self.calibration[BEFORE].items()
        ]
        for level, metrics in self.conformal.items():
            rows += [
                _row(f"conformal_{metric}@{level:g}", name, estimate, self.support[name])
                for (metric, name), estimate in metrics.items()
            ]
        for tier, estimates in self.tiers.items():
            rows.append(_row(f"tier_{tier}_share", "", estimates["share"], images))
            rows.append(_row(f"tier_{tier}_accuracy", "", estimates["accuracy"], estimates["images"]))
        rows += [
            _row(f"error_auroc_{name}", "", estimate, images)
            for name, estimate in self.error_detection.items()
        ]
        return rows


def trust_report(
    logits: ArrayLike,
    labels: ArrayLike,
    groups: Iterable[Any],
    card: Card,
    *,
    coverages: Sequence[float] = COVERAGES,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> TrustReport:
    """Measure calibration before and after the temperature, conformal sets, tiers and error detection.

    Parameters
    ----------
    logits : array-like, shape [N, K]
        The network's raw outputs.
    labels : array-like of int, shape [N]
    groups : iterable, length N
        Group of each image; see `group_resamples`.
    card : Card
        Whose temperature and conformal scores are used.
    coverages : sequence of float
    n_resamples, seed, level
        As in `classification_report`.

    Returns
    -------
    TrustReport

    Raises
    ------
    DataError
        If lengths or shapes do not match, or labels are out of range.
    """
    scores = np.asarray(logits, np.float64)
    truth = check_labels(labels, scores.shape)
    if scores.shape[1] != len(card.classes):
        raise DataError(
            f"logits have {scores.shape[1]} columns for the {len(card.classes)} classes of {card.name}"
        )
    resamples = group_resamples(groups, n_resamples, seed)
    if resamples.n_images != len(truth):
        raise DataError(f"{resamples.n_images} groups for {len(truth)} images; expected one group an image")
    probabilities = {BEFORE: softmax(scores), AFTER: softmax(scores, card.temperature)}
    calibrated = probabilities[AFTER]
    confidence = calibrated.max(axis=1)
    wrong = calibrated.argmax(axis=1) != truth
    tier = np.asarray([confidence_tier(value) for value in confidence])
    sets = predicted_sets(calibrated, card, coverages)
    raw = _raw_sets(calibrated, card, coverages)
    doubt = doubts(calibrated)

    def statistics(weights: NDArray[np.float64]) -> dict[tuple[Any, ...], NDArray[np.float64]]:
        metrics: dict[tuple[Any, ...], NDArray[np.float64]] = {}
        for when, values in probabilities.items():
            estimates = calibration_metrics(truth, values, weights, card.classes)
            metrics.update({("calibration", when, *key): value for key, value in estimates.items()})
            metrics.update(_bins(values, ~wrong, weights, when))
        for coverage, inside in sets.items():
            estimates = conformal_metrics(truth, inside, weights, card.classes)
            metrics.update({("conformal", coverage, *key): value for key, value in estimates.items()})
            metrics["conformal", coverage, "empty", ""] = share(np.asarray(~raw[coverage].any(axis=1)))(
                weights
            )
        metrics.update(_tiers(tier, ~wrong, weights))
        for name, value in doubt.items():
            metrics["error", name] = weighted_auroc(value, wrong, weights)
        return metrics

    estimates = bootstrap_estimates(statistics, resamples, level)

    def part(*head: Any) -> dict[Any, Estimate]:
        tails = {key[len(head) :]: value for key, value in estimates.items() if key[: len(head)] == head}
        return {key if len(key) > 1 else key[0]: value for key, value in tails.items()}

    counts = np.bincount(truth, minlength=len(card.classes)).tolist()
    return TrustReport(
        temperature=card.temperature,
        classes=card.classes,
        calibration={
            when: with_calibration_errors(
                part("calibration", when), values, truth, resamples, card.classes, level
            )
            for when, values in probabilities.items()
        },
        reliability={when: _reliability(values, part("bin", when)) for when, values in probabilities.items()},
        conformal={coverage: part("conformal", coverage) for coverage in sets},
        tiers={
            name: {
                "images": int((tier == name).sum()),
                **{what: estimates["tier", name, what] for what in _TIER},
            }
            for name in TIERS
        },
        error_detection=part("error"),
        support={"": len(truth), **dict(zip(card.classes, counts))},
    )


_TIER = ("share", "accuracy")


def predicted_sets(
    probabilities: NDArray[np.float64], card: Card, coverages: Sequence[float] = COVERAGES
) -> dict[float, NDArray[np.bool_]]:
    """Return the sets that prediction gives, [N, K] by coverage; none where the card stores no scores.

    As in a Prediction, the most probable class is always in its set.
    """
    first = np.eye(len(card.classes), dtype=np.bool_)[probabilities.argmax(axis=1)]
    return {
        coverage: inside | first for coverage, inside in _raw_sets(probabilities, card, coverages).items()
    }


def _raw_sets(
    probabilities: NDArray[np.float64], card: Card, coverages: Sequence[float]
) -> dict[float, NDArray[np.bool_]]:
    """Sets as they are calibrated, before the most probable class is put in; these may be empty."""
    if not card.conformal:
        return {}
    values = p_values(probabilities, card.conformal, card.classes)
    return {coverage: in_set(values, coverage) for coverage in coverages}


def doubts(probabilities: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return measures of doubt that need nothing but probabilities [N, K]; higher is more doubtful."""
    ordered = np.sort(probabilities, axis=1)
    return {
        "max_probability": 1 - ordered[:, -1],
        "margin": 1 - (ordered[:, -1] - ordered[:, -2]),
        "entropy": entropy(probabilities),
    }


def _bins(
    probabilities: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64], when: str
) -> dict[tuple[Any, ...], NDArray[np.float64]]:
    place = confidence_bins(probabilities.max(axis=1))
    member = np.eye(ECE_BINS)[place]
    accuracy = divide(weights @ (member * right[:, None]), weights @ member)
    return {("bin", when, index): accuracy[:, index] for index in np.unique(place).tolist()}


def _reliability(probabilities: NDArray[np.float64], accuracy: dict[int, Estimate]) -> list[dict[str, Any]]:
    confidence = probabilities.max(axis=1)
    place = confidence_bins(confidence)
    return [
        {
            "from": index / ECE_BINS,
            "to": (index + 1) / ECE_BINS,
            "images": int((place == index).sum()),
            "confidence": float(confidence[place == index].mean()),
            "accuracy": estimate.to_dict(),
        }
        for index, estimate in accuracy.items()
    ]


def _tiers(
    tier: NDArray[np.str_], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> dict[tuple[Any, ...], NDArray[np.float64]]:
    metrics: dict[tuple[Any, ...], NDArray[np.float64]] = {}
    for name in TIERS:
        own = weights @ (tier == name).astype(np.float64)
        metrics["tier", name, "share"] = divide(own, weights.sum(axis=1))
        metrics["tier", name, "accuracy"] = divide(weights @ ((tier == name) & right).astype(np.float64), own)
    return metrics


def _nested(metrics: dict[Key, Estimate]) -> dict[str, Any]:
    """Figures over all classes under ``overall``, the others under ``per_class``."""
    result: dict[str, Any] = {"overall": {}, "per_class": {}}
    for (metric, name), estimate in metrics.items():
        place = result["per_class"].setdefault(name, {}) if name else result["overall"]
        place[metric] = estimate.to_dict()
    return result


def _row(metric: str, name: str, estimate: Estimate, n: int) -> dict[str, Any]:
    return {"metric": metric, "class": name, **estimate.to_dict(), "n": n}
