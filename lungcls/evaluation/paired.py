"""Is one classifier better than another on the same images? Tests for paired answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.stats import rankdata
from statsmodels.stats.multitest import multipletests

from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import GroupResamples, group_resamples, percentile_interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIN_GROUPS = 20
"""Fewer groups than this cannot tell how groups differ: DeLong's test by groups has then no answer."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of the second classifier minus that of the first.

    Attributes
    ----------
    value : float
    low, high : float
        95% interval.
    p : float
        Two-sided probability of a difference at least as large if there were none; nan where the sample
        cannot tell.
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """Images on which exactly one of two classifiers is right.

    Attributes
    ----------
    only_first, only_second : int
        Images that only the first, and only the second, classifies rightly.
    p : float
        Exact two-sided p value; 1 where the two never differ.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar_test(
    first_right: ArrayLike, second_right: ArrayLike, groups: Iterable[Any] | None = None
) -> McNemar:
    """Compare two accuracies on the same images, exactly.

    Parameters
    ----------
    first_right, second_right : array-like of bool, shape [N]
        Whether each classifier is right on each image.
    groups : iterable, length N, optional
        Images of one group (patient, near duplicates) are no independent evidence: if there were no
        difference, a whole group might as well have gone the other way. By default every image stands alone.

    Returns
    -------
    McNemar
        The p value is that of flipping the sign of each group's difference, over all flips; with groups of
        one image, McNemar's exact test.

    Raises
    ------
    DataError
        If the shapes differ.

    References
    ----------
    McNemar (1947), Note on the sampling error of the difference between correlated proportions or
    percentages, Psychometrika 12(2), 153-157.
    """
    one, two = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if one.shape != two.shape or one.ndim != 1:
        raise DataError(f"two classifiers' answers have the shapes {one.shape} and {two.shape}; expected [N]")
    only_first, only_second = int((one & ~two).sum()), int((two & ~one).sum())
    codes = np.arange(len(one)) if groups is None else group_resamples(groups, 0).codes
    changes = np.bincount(codes, weights=one.astype(float) - two)
    return McNemar(only_first, only_second, _sign_flip_p(changes[changes != 0].astype(np.int64)))


def _sign_flip_p(changes: NDArray[np.int64]) -> float:
    """Chance of a sum at least as far from 0, if each whole number had either sign."""
    sizes = np.abs(changes)
    total = int(sizes.sum())
    chance = np.zeros(total + 1)  # of each sum of those that are positive
    chance[0] = 1
    reached = 0
    for size in sizes.tolist():
        chance[size : reached + size + 1] += chance[: reached + 1].copy()
        chance[: reached + size + 1] /= 2
        reached += size
    sums = 2 * np.arange(total + 1) - total
    return min(1.0, float(chance[np.abs(sums) >= abs(int(changes.sum()))].sum()))


def auroc_influence(scores: Floats, positive: Bools) -> tuple[float, Floats]:
    """Return the area under the ROC curve and how much each image moves it.

    Parameters
    ----------
    scores : ndarray, shape [N]
        Higher for positives.
    positive : ndarray of bool, shape [N]
        At least two of each kind.

    Returns
    -------
    area : float
        Ties count half.
    influence : ndarray, shape [N]
        Deviations of DeLong's placement values from the area, scaled so that the sum of their squares is
        DeLong's variance of the area, and the sum of products of two classifiers' his covariance.

    Raises
    ------
    DataError
        If there are fewer than two positives or negatives.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson (1988), Comparing the areas under two or more correlated receiver operating
    characteristic curves: a nonparametric approach, Biometrics 44(3), 837-845.
    Sun, Xu (2014), Fast implementation of DeLong's algorithm for comparing the areas under correlated
    receiver operating characteristic curves, IEEE Signal Processing Letters 21(11), 1389-1393.
    """
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        raise DataError(f"{m} positives and {n} negatives; DeLong's test needs at least two of each")
    # Midranks among all minus midranks among one's own kind count the others that are beaten (Sun, Xu).
    ranks = rankdata(scores)
    place_positive = (ranks[positive] - rankdata(scores[positive])) / n
    place_negative = 1 - (ranks[~positive] - rankdata(scores[~positive])) / m
    area = float(place_positive.mean())
    influence = np.empty(len(scores))
    influence[positive] = (place_positive - area) / math.sqrt(m * (m - 1))
    influence[~positive] = (place_negative - area) / math.sqrt(n * (n - 1))
    return area, influence


def delong_test(
    positive: ArrayLike, first: ArrayLike, second: ArrayLike, groups: Iterable[Any] | None = None
) -> Difference:
    """Compare two areas under the ROC curve on the same images.

    Parameters
    ----------
    positive : array-like of bool, shape [N]
    first, second : array-like, shape [N]
        Scores of the two classifiers.
    groups : iterable, length N, optional
        Images of one group (patient, near duplicates) are no independent evidence: their influences are added
        up before they are squared (Obuchowski), with his factor for few groups and Student's t. By default
        every image stands alone, as in DeLong.

    Returns
    -------
    Difference
        Second minus first. With fewer than 20 groups, which cannot tell, interval and p value are nan.

    Raises
    ------
    DataError
        If there are fewer than two positives or negatives.

    References
    ----------
    DeLong et al. (1988), as `auroc_influence`.
    Obuchowski (1997), Nonparametric analysis of clustered ROC curve data, Biometrics 53(2), 567-578.
    """
    truth = np.asarray(positive, dtype=bool)
    one, of_one = auroc_influence(np.asarray(first, dtype=np.float64), truth)
    two, of_two = auroc_influence(np.asarray(second, dtype=np.float64), truth)
    return _normal(two - one, of_two - of_one, groups)


def macro_delong_test(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, groups: Iterable[Any] | None = None
) -> Difference:
    """Compare two mean areas, each class against the rest, over the classes that the sample can tell.

    Parameters
    ----------
    labels : array-like of int, shape [N]
    first, second : array-like, shape [N, K]
        Probabilities or scores; classes with fewer than two images (or all but two) are left out.
    groups : iterable, length N, optional
        As in :func:`delong_test`.

    Returns
    -------
    Difference
        Second minus first. The areas of the classes are correlated; since each image's influences on them
        are added up before they are squared, their covariances count.

    Raises
    ------
    DataError
        If no class can be told.
    """
    truth = np.asarray(labels)
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    told = [k for k in range(one.shape[1]) if 2 <= int((truth == k).sum()) <= len(truth) - 2]
    if not told:
        raise DataError("no class has two images and two others; an area under the ROC curve needs both")
    differences, influences = [], []
    for k in told:
        area_one, of_one = auroc_influence(one[:, k], truth == k)
        area_two, of_two = auroc_influence(two[:, k], truth == k)
        differences.append(area_two - area_one)
        influences.append(of_two - of_one)
    return _normal(float(np.mean(differences)), np.mean(influences, axis=0), groups)


def _normal(value: float, influence: Floats, groups: Iterable[Any] | None) -> Difference:
    reference: Any = stats.norm
    influence = np.asarray(influence, np.float64)
    if groups is not None:
        resamples = group_resamples(groups, 0)
        count = resamples.n_groups
        if count < MIN_GROUPS:
            return Difference(value, math.nan, math.nan, math.nan)
        reference = stats.t(count - 1)
        summed = np.bincount(resamples.codes, weights=influence).astype(np.float64)
        influence = summed * math.sqrt(count / (count - 1))
    error = float(np.sqrt((influence**2).sum()))
    if error == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    reach = float(reference.ppf(0.975)) * error
    return Difference(value, value - reach, value + reach, float(2 * reference.sf(abs(value) / error)))


def bootstrap_difference(
    first: Callable[[Floats], Floats], second: Callable[[Floats], Floats], resamples: GroupResamples
) -> Difference:
    """Compare any figure of two classifiers over the same resamples of groups.

    Parameters
    ----------
    first, second : callable
        Take weights [r, N] and return the figure under each row, [r].
    resamples : GroupResamples

    Returns
    -------
    Difference
        Second minus first, with the percentile interval. The p value is twice the share of resamples on the
        other side of 0 (one is added to both counts, so that it is never 0).

    References
    ----------
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, chapters 13 and 15.
    """
    ones = np.ones((1, resamples.n_images))
    value = float((second(ones) - first(ones))[0])
    if resamples.n_groups < 2 or not len(resamples):
        return Difference(value, math.nan, math.nan, math.nan)
    drawn = np.concatenate([second(weights) - first(weights) for weights in resamples])
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return Difference(value, math.nan, math.nan, math.nan)
    return Difference(value, *percentile_interval(drawn), resampled_p(drawn))


def resampled_p(drawn: Floats) -> float:
    """Return the p value of a difference from its resamples, as `bootstrap_difference` does."""
    drawn = drawn[~np.isnan(drawn)]
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(drawn) + 1)) if drawn.size else math.nan


def at_floor(drawn: Floats) -> bool:
    """Say whether a p value from resamples is the least that so many can show: "at most", not "equal to"."""
    drawn = drawn[~np.isnan(drawn)]
    return bool(drawn.size) and not ((drawn <= 0).any() and (drawn >= 0).any())


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for their number, so that the chance of any false alarm stays below the level.

    Parameters
    ----------
    p_values : sequence of float
        nan values stay nan and do not count.

    Returns
    -------
    list of float
        In the same order; at most 1.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6(2), 65-70.
    """
    values = np.asarray(p_values, dtype=np.float64)
    defined = ~np.isnan(values)
    if defined.any():
        values[defined] = multipletests(values[defined], method="holm")[1]
    return [float(value) for value in values]
