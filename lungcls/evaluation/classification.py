"""How well stage 2 tells the classes apart, each figure with its interval by group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import (
    Estimate,
    bootstrap_estimates,
    exact_share,
    finite,
    group_resamples,
)
from lungcls.evaluation.calibration import MetricValues, calibration_metrics, check_labels, divide
from lungcls.evaluation.calibration_error import with_calibration_errors

COVID = "COVID"
PER_CLASS = ("precision", "recall", "f1", "auroc", "ece")

# Probabilities saved as float16 or with four digits may miss 1 by this much.
_SUM_TOLERANCE = 5e-3


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """Figures of a classifier on one sample; see `classification_report`.

    Attributes
    ----------
    classes : tuple of str
    n_images, n_groups, n_resamples, seed : int
    level : float
        Coverage of the intervals.
    majority_class : str
        The class that the majority baseline always answers.
    overall : dict of Estimate
        accuracy, macro_precision, macro_recall, macro_f1, macro_auroc, brier, nll, ece, classwise_ece,
        ece_debiased, classwise_ece_debiased, calibration_p,
        covid_false_negative_rate (where COVID is a class), majority_accuracy, majority_macro_f1.
    per_class : dict of dict of Estimate
        By class: precision, recall, f1, auroc, ece. All nan for a class that the sample lacks.
    support : dict of int
        Number of images by true class.
    confusion : ndarray of int, shape [K, K]
        Number of images; rows are the true classes, columns the predicted ones.
    """

    classes: tuple[str, ...]
    n_images: int
    n_groups: int
    n_resamples: int
    seed: int
    level: float
    majority_class: str
    overall: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate]]
    support: dict[str, int]
    confusion: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Return all figures in plain types that JSON can hold; what is undefined is None."""
        return {
            "classes": list(self.classes),
            "n_images": self.n_images,
            "n_groups": self.n_groups,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "level": self.level,
            "majority_class": self.majority_class,
            "overall": {metric: estimate.to_dict() for metric, estimate in self.overall.items()},
            "per_class": {
                name: {
                    "support": self.support[name],
                    **{metric: estimate.to_dict() for metric, estimate in metrics.items()},
                }
                for name, metrics in self.per_class.items()
            },
            "confusion_matrix": {"rows": "true", "columns": "predicted", "counts": self.confusion.tolist()},
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row a figure: metric, class ("" for all), value, low, high, n.

        n is the number of images that the figure is about: all, or those whose true class it names.
        """
        rows = []
        for metric, estimate in self.overall.items():
            n = self.support[COVID] if metric == "covid_false_negative_rate" else self.n_images
            rows.append(_row(metric, "", estimate, n))
        for name, metrics in self.per_class.items():
            rows += [_row(metric, name, estimate, self.support[name]) for metric, estimate in metrics.items()]
        return rows


def classification_report(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: Iterable[Any],
    classes: Sequence[str],
    n_resamples: int = 2000,
    seed: int = 0,
    *,
    level: float = 0.95,
    majority_class: str | None = None,
) -> ClassificationReport:
    """Compute the figures of a classifier, with bootstrap intervals by group.

    Parameters
    ----------
    labels : array-like of int, shape [N]
        True class of each image, as an index into `classes`.
    probabilities : array-like, shape [N, K]
        Probabilities in [0, 1], each row summing to 1, columns in the order of `classes`. The highest
        is the predicted class (the first of equals).
    groups : iterable, length N
        Group of each image (patient, or cluster of near duplicates); see `group_resamples`.
    classes : sequence of str, length K
        Names of the classes.
    n_resamples : int
        Number of bootstrap resamples; 0 for no intervals.
    seed : int
        Seed of the resamples.
    level : float
        Coverage of the intervals.
    majority_class : str, optional
        The class that the baseline always answers; the most frequent of `labels` by default. Give the
        training set's where it may differ.

    Returns
    -------
    ClassificationReport

    Raises
    ------
    DataError
        If lengths or shapes do not match, labels are out of range, or the probabilities are none.

    Notes
    -----
    A class without images in the sample (or in a resample) has no precision, recall, F1 or AUROC there,
    and macro figures are means over the classes that are present. A class that is present and
    never predicted has precision 0, as in scikit-learn. AUROC is one class against the rest; ties count
    half. Brier score is the sum over classes, from 0 to 2. The calibration error (``ece``) is a sum of
    absolute values, which chance makes larger and resampling more so: it has no interval. The debiased one
    has, and ``calibration_p`` says whether chance alone would give the plain one
    (:func:`lungcls.evaluation.calibration_error.calibration_errors`).

    References
    ----------
    Brier (1950), Verification of forecasts expressed in terms of probability, Monthly Weather Review 78(1).
    Fawcett (2006), An introduction to ROC analysis, Pattern Recognition Letters 27(8), 861-874.
    """
    names = _check_classes(classes)
    scores, truth = _check_sample(labels, probabilities, names)
    resamples = group_resamples(groups, n_resamples, seed)
    if resamples.n_images != len(truth):
        raise DataError(f"{resamples.n_images} groups for {len(truth)} images; expected one group an image")
    support = np.bincount(truth, minlength=len(names))
    if majority_class is None:
        majority_class = names[int(support.argmax())]
    elif majority_class not in names:
        raise DataError(f"the majority class {majority_class!r} is not one of the classes {list(names)}")
    majority = majority_class

    def statistics(weights: NDArray[np.float64]) -> MetricValues:
        return {
            **classification_metrics(truth, scores, weights, names),
            **_baseline_metrics(truth, names.index(majority), weights, len(names)),
        }

    estimates = bootstrap_estimates(statistics, resamples, level)
    estimates = with_calibration_errors(estimates, scores, truth, resamples, names, level)
    # Resamples of a share of 0 or 1 all have that share, however few the films are.
    groups_of = {name: len(np.unique(resamples.codes[truth == k])) for k, name in enumerate(names)}
    shares = {("accuracy", ""): resamples.n_groups, **{("recall", name): n for name, n in groups_of.items()}}
    if COVID in names:
        shares["covid_false_negative_rate", ""] = groups_of[COVID]
    for key, count in shares.items():
        if not np.isnan(estimates[key].low):
            estimates[key] = exact_share(estimates[key], count, level)
    return ClassificationReport(
        classes=names,
        n_images=len(truth),
        n_groups=resamples.n_groups,
        n_resamples=n_resamples,
        seed=seed,
        level=level,
        majority_class=majority,
        overall={metric: estimate for (metric, name), estimate in estimates.items() if not name},
        per_class={name: {metric: estimates[metric, name] for metric in PER_CLASS} for name in names},
        support={name: int(count) for name, count in zip(names, support, strict=True)},
        confusion=_confusion(truth, scores, np.ones((1, len(truth))))[0].astype(np.int64),
    )


def classification_metrics(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
    classes: Sequence[str],
) -> MetricValues:
    """Compute every figure of a classifier under each row of weights.

    Parameters
    ----------
    labels : ndarray of int, shape [N]
    probabilities : ndarray of float, shape [N, K]
    weights : ndarray of float, shape [R, N]
        Weight of each image, 0 or more. A row of ones gives the plain figures.
    classes : sequence of str, length K

    Returns
    -------
    dict
        Keys are (metric, class), with class "" for figures over all classes; values are [R], nan where
        undefined. For the conventions see `classification_report`.
    """
    confusion = _confusion(labels, probabilities, weights)
    total = weights.sum(axis=1)
    right = np.diagonal(confusion, axis1=1, axis2=2)
    support = confusion.sum(axis=2)
    predicted = confusion.sum(axis=1)
    present = support > 0

    recall = divide(right, support)
    # A class that is there but never predicted has no right answer among none: 0, not undefined.
    precision = np.where(present, right / np.maximum(predicted, np.finfo(np.float64).tiny), np.nan)
    f1 = np.where(present, divide(2 * right, support + predicted), np.nan)
    auroc = np.stack(
        [weighted_auroc(probabilities[:, k], labels == k, weights) for k in range(len(classes))], axis=1
    )

    metrics: MetricValues = {
        ("accuracy", ""): divide(right.sum(axis=1), total),
        ("macro_precision", ""): _mean_of_defined(precision),
        ("macro_recall", ""): _mean_of_defined(recall),
        ("macro_f1", ""): _mean_of_defined(f1),
        ("macro_auroc", ""): _mean_of_defined(auroc),
        **calibration_metrics(labels, probabilities, weights, classes),
    }
    if COVID in classes:
        metrics["covid_false_negative_rate", ""] = 1 - recall[:, list(classes).index(COVID)]
    for metric, values in zip(PER_CLASS[:4], (precision, recall, f1, auroc), strict=True):
        metrics.update({(metric, name): values[:, k] for k, name in enumerate(classes)})
    return metrics


def weighted_auroc(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the area under the ROC curve under each row of weights, exact with ties.

    The area is the share of (positive, negative) pairs, by product of their weights, in which the
    positive has the higher score; equal scores count half. The images are sorted once for all rows.

    Parameters
    ----------
    scores : ndarray, shape [N]
        Higher for positives.
    positive : ndarray of bool, shape [N]
    weights : ndarray, shape [R, N]
        Weight of each image, 0 or more.

    Returns
    -------
    ndarray of float64, shape [R]
        nan where a row has no weight on positives or none on negatives.

    References
    ----------
    Hanley, McNeil (1982), The meaning and use of the area under a receiver operating characteristic (ROC)
    curve, Radiology 143(1), 29-36.
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    by_score = weights[:, order]
    positives = by_score * positive[order]
    negatives = by_score - positives
    if len(starts) < len(ordered):
        positives = np.add.reduceat(positives, starts, axis=1)
        negatives = np.add.reduceat(negatives, starts, axis=1)
    beaten = np.cumsum(negatives, axis=1)
    pairs = positives.sum(axis=1) * beaten[:, -1]
    won = np.einsum("rn,rn->r", positives, beaten - 0.5 * negatives)
    return divide(won, pairs)


def _baseline_metrics(
    labels: NDArray[np.int64], majority: int, weights: NDArray[np.float64], n_classes: int
) -> MetricValues:
    """Accuracy and macro-F1 of always answering one class, by the formulas of the classifier itself."""
    support = weights @ np.eye(n_classes)[labels]
    share = divide(support[:, majority], support.sum(axis=1))
    f1 = np.where(support > 0, 0.0, np.nan)
    f1[:, majority] = np.where(share > 0, 2 * share / (1 + share), np.nan)
    return {("majority_accuracy", ""): share, ("majority_macro_f1", ""): _mean_of_defined(f1)}


def _confusion(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weight in each cell [R, K, K]; rows are true, columns predicted."""
    k = probabilities.shape[1]
    cells = np.eye(k * k)[labels * k + probabilities.argmax(axis=1)]
    counts: NDArray[np.float64] = (weights @ cells).reshape(len(weights), k, k)
    return counts


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the classes [R, K] -> [R], leaving out the undefined."""
    return divide(np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1).astype(np.float64))


def _row(metric: str, name: str, estimate: Estimate, n: int) -> dict[str, Any]:
    return {
        "metric": metric,
        "class": name,
        "value": finite(estimate.value),
        "low": finite(estimate.low),
        "high": finite(estimate.high),
        "n": n,
    }


def _check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    names = tuple(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"the classes are {classes!r}; expected a list of names")
    if len(set(names)) != len(names):
        raise DataError(f"the classes {list(names)} have a name twice; expected each once")
    return names


def _check_sample(
    labels: ArrayLike, probabilities: ArrayLike, classes: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    scores = np.asarray(probabilities, dtype=np.float64)
    truth = check_labels(labels, scores.shape)
    if scores.shape[1] != len(classes):
        raise DataError(
            f"probabilities have {scores.shape[1]} columns for {len(classes)} classes {list(classes)}; "
            "expected one column a class, in this order"
        )
    sums = scores.sum(axis=1)
    right = np.isfinite(scores).all(axis=1) & (scores >= 0).all(axis=1) & (abs(sums - 1) <= _SUM_TOLERANCE)
    wrong = ~right
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{int(wrong.sum())} of {len(scores)} rows are no probabilities, the first is row {row}: "
            f"{np.array2string(scores[row], precision=4)}; expected values from 0 to 1 that sum to 1 "
            "(are these logits? then apply lungcls.evaluation.calibration.softmax)"
        )
    return scores, truth
