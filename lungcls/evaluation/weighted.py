"""Single figures as functions of the images' weights, for bootstraps that need one figure very often."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate, GroupResamples, bootstrap_estimates
from lungcls.evaluation.classification import weighted_auroc

Floats: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats], Floats]
"""Takes weights [r, N] and returns the figure under each row, [r]; nan where it is undefined."""


def share(values: NDArray[np.bool_] | Floats) -> Statistic:
    """Return the weighted mean of `values` [N]: an accuracy, where they say who is right."""
    numbers = np.asarray(values, dtype=np.float64)

    def statistic(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        return np.where(total > 0, weights @ numbers / np.where(total > 0, total, 1), np.nan)

    return statistic


def macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.integer], n_classes: int) -> Statistic:
    """Return the mean F1 over the classes that are present, as `classification_metrics` defines it."""
    cells = np.eye(n_classes * n_classes)[labels * n_classes + predicted]

    def statistic(weights: Floats) -> Floats:
        confusion = (weights @ cells).reshape(-1, n_classes, n_classes)
        right = np.diagonal(confusion, axis1=1, axis2=2)
        support, answered = confusion.sum(2), confusion.sum(1)
        f1 = np.where(support > 0, 2 * right / np.where(support > 0, support + answered, 1), 0.0)
        present = (support > 0).sum(1)
        return np.where(present > 0, f1.sum(1) / np.maximum(present, 1), np.nan)

    return statistic


def macro_auroc(labels: NDArray[np.int64], probabilities: Floats) -> Statistic:
    """Return the mean area under the ROC curve, each class against the rest, where it is defined."""

    def statistic(weights: Floats) -> Floats:
        columns = [
            weighted_auroc(probabilities[:, k], labels == k, weights) for k in range(probabilities.shape[1])
        ]
        areas = np.stack(columns, axis=1)
        defined = (~np.isnan(areas)).sum(1)
        return np.where(defined > 0, np.nansum(areas, axis=1) / np.maximum(defined, 1), np.nan)

    return statistic


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> Statistic:
    """Return the area under the ROC curve; see :func:`lungcls.evaluation.classification.weighted_auroc`."""
    return lambda weights: weighted_auroc(scores, positive, weights)


def difference(first: Statistic, second: Statistic) -> Statistic:
    """Return second minus first, under the same weights."""
    return lambda weights: second(weights) - first(weights)


def estimate(statistic: Statistic, resamples: GroupResamples) -> Estimate:
    """Return a figure and its 95% interval by group."""
    return bootstrap_estimates(lambda weights: {"": statistic(weights)}, resamples)[""]
