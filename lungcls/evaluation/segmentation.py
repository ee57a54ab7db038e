"""How well stage 1 finds the lungs: overlap, distance of the outlines, and how often it fails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import (
    Estimate,
    bootstrap_estimates,
    finite,
    group_resamples,
    weighted_quantile,
)

FAILURE_BELOW = 0.9
"""A mask with a lower Dice is counted as failed; two readers' lung outlines agree with about 0.95."""

METRICS = ("dice_mean", "dice_median", "dice_p05", "iou_mean", "hd95_mean", "hd95_median", "failure_rate")


@dataclass(frozen=True, slots=True)
class MaskScore:
    """Agreement of one predicted mask with the true one.

    Parameters
    ----------
    dice, iou : float
        Overlap, from 0 to 1.
    hd95 : float
        Distance of the outlines, in pixels, or in mm if a spacing was given.
    """

    dice: float
    iou: float
    hd95: float


def dice(a: ArrayLike, b: ArrayLike) -> float:
    """Return the Dice coefficient of two masks, 2 |A and B| / (|A| + |B|).

    Parameters
    ----------
    a, b : array-like of bool, shape [H, W]
        Masks (0 and 1 are taken too), of the same shape; which one is the truth does not matter.

    Returns
    -------
    float
        From 0 to 1. 1 if both are empty (they agree), 0 if one is.

    Raises
    ------
    DataError
        If the masks are not two-dimensional, differ in shape, or hold other values than 0 and 1.

    References
    ----------
    Taha, Hanbury (2015), Metrics for evaluating 3D medical image segmentation, BMC Medical Imaging 15:29.
    """
    first, second = _check_masks(a, b)
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def iou(a: ArrayLike, b: ArrayLike) -> float:
    """Return the intersection over union (Jaccard index) of two masks, |A and B| / |A or B|.

    Parameters, conventions for empty masks and errors as for `dice`.

    Returns
    -------
    float
        From 0 to 1. 1 if both are empty, 0 if one is.
    """
    first, second = _check_masks(a, b)
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def hd95(a: ArrayLike, b: ArrayLike, spacing: tuple[float, float] | None = None) -> float:
    """Return the 95th percentile of the distance between the outlines of two masks.

    For each border pixel of one mask the distance to the nearest border pixel of the other is taken, and
    of these the 95th percentile; the result is the larger of the two directions. The border is the
    pixels of the mask with a 4-neighbour outside it; outside the image counts as outside the mask.

    Parameters
    ----------
    a, b : array-like of bool, shape [H, W]
        Masks of the same shape.
    spacing : (float, float), optional
        Height and width of a pixel in mm; without it the result is in pixels.

    Returns
    -------
    float
        0 or more, in pixels or mm. 0 if both masks are empty. If one is empty there is no distance;
        the image's diagonal, which no distance exceeds, is returned, so that a lost lung mask weighs
        as the worst and not, as nan, like nothing.

    Raises
    ------
    DataError
        As `dice`, and if the spacing is not two positive numbers.

    References
    ----------
    Taha, Hanbury (2015), Metrics for evaluating 3D medical image segmentation, BMC Medical Imaging 15:29.
    Maier-Hein, Reinke et al. (2024), Metrics reloaded, Nature Methods 21, 195-212.
    """
    first, second = _check_masks(a, b)
    scale = np.asarray((1.0, 1.0) if spacing is None else spacing, dtype=np.float64)
    if scale.shape != (2,) or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise DataError(f"the spacing is {spacing!r}; expected (row, column), two positive lengths in mm")
    if not first.any() and not second.any():
        return 0.0
    if not first.any() or not second.any():
        return float(np.hypot(*(np.asarray(first.shape) * scale)))
    # A tree over border pixels is exact and, unlike a distance map, does not grow with the image's area.
    outline, other = _border(first) * scale, _border(second) * scale
    there = np.quantile(KDTree(other).query(outline)[0], 0.95)
    back = np.quantile(KDTree(outline).query(other)[0], 0.95)
    return float(max(there, back))


def score_mask(
    predicted: ArrayLike, truth: ArrayLike, spacing: tuple[float, float] | None = None
) -> MaskScore:
    """Return Dice, IoU and HD95 of one mask; parameters and errors as for `hd95`."""
    return MaskScore(dice(predicted, truth), iou(predicted, truth), hd95(predicted, truth, spacing))


@dataclass(frozen=True, eq=False)
class SegmentationReport:
    """Figures of a segmenter on one sample; see `segmentation_report`.

    Attributes
    ----------
    classes : tuple of str
        Classes with images in the sample, empty if no labels were given.
    n_images, n_groups, n_resamples, seed : int
    level : float
        Coverage of the intervals.
    failure_below : float
        Dice under which a mask counts as failed.
    hd95_unit : str
        "px" or "mm".
    overall : dict of Estimate
        dice_mean, dice_median, dice_p05 (5th percentile), iou_mean, hd95_mean, hd95_median,
        failure_rate.
    per_class : dict of dict of Estimate
        The same by class.
    support : dict of int
        Number of images by class.
    """

    classes: tuple[str, ...]
    n_images: int
    n_groups: int
    n_resamples: int
    seed: int
    level: float
    failure_below: float
    hd95_unit: str
    overall: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate]]
    support: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return all figures in plain types that JSON can hold; what is undefined is None."""
        return {
            "classes": list(self.classes),
            "n_images": self.n_images,
            "n_groups": self.n_groups,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "level": self.level,
            "failure_below": self.failure_below,
            "hd95_unit": self.hd95_unit,
            "overall": {metric: estimate.to_dict() for metric, estimate in self.overall.items()},
            "per_class": {
                name: {
                    "support": self.support[name],
                    **{metric: estimate.to_dict() for metric, estimate in metrics.items()},
                }
                for name, metrics in self.per_class.items()
            },
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row a figure: metric, class ("" for all), unit ("" if none), value, low, high, n."""
        scopes = [("", self.overall, self.n_images)]
        scopes += [(name, metrics, self.support[name]) for name, metrics in self.per_class.items()]
        return [
            {
                "metric": metric,
                "class": name,
                "unit": self.hd95_unit if metric.startswith("hd95") else "",
                "value": finite(estimate.value),
                "low": finite(estimate.low),
                "high": finite(estimate.high),
                "n": n,
            }
            for name, metrics, n in scopes
            for metric, estimate in metrics.items()
        ]


def segmentation_report(
    scores: Sequence[MaskScore],
    groups: Iterable[Any],
    labels: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    *,
    level: float = 0.95,
    failure_below: float = FAILURE_BELOW,
    hd95_unit: str = "px",
) -> SegmentationReport:
    """Summarise the scores of many masks, with bootstrap intervals by group.

    Parameters
    ----------
    scores : sequence of MaskScore, length N
        One an image, from `score_mask`.
    groups : iterable, length N
        Group of each image (patient, or cluster of near duplicates); see `group_resamples`.
    labels : sequence of str, length N, optional
        Name of each image's class, for figures by class. Without it there are only overall ones.
    classes : sequence of str, optional
        The order in which classes are shown; those without an image are left out. By default the names
        found, sorted.
    n_resamples : int
        Number of bootstrap resamples; 0 for no intervals.
    seed : int
        Seed of the resamples.
    level : float
        Coverage of the intervals.
    failure_below : float
        A mask whose Dice is lower counts in the failure rate.
    hd95_unit : {"px", "mm"}
        What the scores' distances are in; only carried along.

    Returns
    -------
    SegmentationReport

    Raises
    ------
    DataError
        If there are no scores, lengths differ, a score is out of its range, or a label is none of the
        classes.
    """
    values = _check_scores(scores)
    resamples = group_resamples(groups, n_resamples, seed)
    if resamples.n_images != len(values):
        raise DataError(f"{resamples.n_images} groups for {len(values)} scores; expected one group an image")
    if not 0 <= failure_below <= 1:
        raise DataError(f"failure_below is {failure_below}; expected a Dice from 0 to 1")
    if hd95_unit not in ("px", "mm"):
        raise DataError(f"hd95_unit is {hd95_unit!r}; expected 'px' or 'mm'")
    members = _members(labels, classes, len(values))

    def statistics(weights: NDArray[np.float64]) -> dict[tuple[str, str], NDArray[np.float64]]:
        metrics = {}
        for name, index in {"": np.arange(len(values)), **members}.items():
            summary = _summary(values[index], weights[:, index], failure_below)
            metrics.update({(metric, name): value for metric, value in summary.items()})
        return metrics

    estimates = bootstrap_estimates(statistics, resamples, level)
    return SegmentationReport(
        classes=tuple(members),
        n_images=len(values),
        n_groups=resamples.n_groups,
        n_resamples=n_resamples,
        seed=seed,
        level=level,
        failure_below=failure_below,
        hd95_unit=hd95_unit,
        overall={metric: estimates[metric, ""] for metric in METRICS},
        per_class={name: {metric: estimates[metric, name] for metric in METRICS} for name in members},
        support={name: len(index) for name, index in members.items()},
    )


def _summary(
    values: NDArray[np.float64], weights: NDArray[np.float64], failure_below: float
) -> dict[str, NDArray[np.float64]]:
    """Figures of scores [n, 3] (Dice, IoU, HD95) under weights [r, n]."""
    overlap, jaccard, distance = values.T
    total = weights.sum(axis=1)

    def mean(column: NDArray[Any]) -> NDArray[np.float64]:
        result = np.full(len(weights), np.nan)
        np.divide(weights @ column, total, out=result, where=total > 0)
        return result

    metrics = (
        mean(overlap),
        weighted_quantile(overlap, weights, 0.5),
        weighted_quantile(overlap, weights, 0.05),
        mean(jaccard),
        mean(distance),
        weighted_quantile(distance, weights, 0.5),
        mean((overlap < failure_below).astype(np.float64)),
    )
    return dict(zip(METRICS, metrics, strict=True))


def _border(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Row and column [n, 2] of the mask's pixels that have a 4-neighbour outside it."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~inside).astype(np.float64)


def _check_masks(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    masks = []
    for mask in (np.asarray(a), np.asarray(b)):
        if mask.ndim != 2 or mask.size == 0:
            raise DataError(f"a mask has the shape {list(mask.shape)}; expected [H, W], at least one pixel")
        if mask.dtype != np.bool_ and not np.isin(mask, (0, 1)).all():
            raise DataError(
                f"a mask of type {mask.dtype} holds other values than 0 and 1 (up to {mask.max()}); "
                "expected bool: compare with a threshold first, such as mask > 127"
            )
        masks.append(mask.astype(np.bool_, copy=False))
    first, second = masks
    if first.shape != second.shape:
        raise DataError(
            f"masks have the shapes {list(first.shape)} and {list(second.shape)}; expected the same: "
            "resize one to the image's own size (nearest neighbour)"
        )
    return first, second


def _check_scores(scores: Sequence[MaskScore]) -> NDArray[np.float64]:
    if len(scores) == 0:
        raise DataError("there are no scores; expected at least one image with a true mask")
    values = np.array([(score.dice, score.iou, score.hd95) for score in scores], dtype=np.float64)
    wrong = ~(np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1) & (values[:, :2] <= 1).all(axis=1))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"score {row} is {scores[row]}; expected Dice and IoU from 0 to 1 and a finite HD95, 0 or more"
        )
    return values


def _members(
    labels: Sequence[str] | None, classes: Sequence[str] | None, n_images: int
) -> dict[str, NDArray[np.intp]]:
    """Positions of each class's images, for the classes that have any."""
    if labels is None:
        return {}
    if len(labels) != n_images:
        raise DataError(f"there are {len(labels)} labels for {n_images} scores; expected one an image")
    labelled = {str(label) for label in labels}
    names = sorted(labelled) if classes is None else [str(name) for name in classes]
    strangers = sorted(labelled - set(names))
    if strangers or "" in labelled:
        raise DataError(f"labels {strangers or ['']} are none of the classes {names}; expected these names")
    array = np.asarray([str(label) for label in labels])
    return {name: np.flatnonzero(array == name) for name in names if name in labelled}
