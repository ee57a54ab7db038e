"""Bootstrap intervals that draw whole groups, because images of one patient are no independent evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from lungcls.errors import DataError

Key = TypeVar("Key", bound=Hashable)

# Weights of this many (resample, image) pairs are held at once: 8 MB, whatever the size of the dataset.
CHUNK_ELEMENTS = 1 << 20

_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval.

    Parameters
    ----------
    value : float
        The figure on the sample; nan where the sample cannot tell it.
    low, high : float
        Ends of the interval; nan where there is none.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    def to_dict(self) -> dict[str, float | None]:
        """Return value, low and high for JSON, with None in place of nan."""
        return {"value": finite(self.value), "low": finite(self.low), "high": finite(self.high)}


def finite(value: float) -> float | None:
    """Return `value` as a plain float, or None where it is nan or infinite (JSON knows neither)."""
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class GroupResamples:
    """Bootstrap resamples as weights, made when they are asked for; see `group_resamples`.

    Iterating yields arrays float64 [r, n_images] of r resamples each, `n_resamples` in all. Every
    iteration yields the same weights, whatever the chunk size: two models whose figures are computed
    with the same resamples can be subtracted resample by resample (a paired bootstrap).

    Attributes
    ----------
    codes : ndarray of int, shape [n_images]
        Number of each image's group, from 0 to `n_groups` - 1.
    n_groups, n_resamples, seed : int
    """

    codes: NDArray[np.int64]
    n_groups: int
    n_resamples: int
    seed: int

    @property
    def n_images(self) -> int:
        """Number of images that a resample weighs."""
        return len(self.codes)

    def __len__(self) -> int:
        """Return the number of resamples."""
        return self.n_resamples

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        """Yield all weights, in chunks of the usual size."""
        yield from self.chunks()

    def chunks(self, max_elements: int = CHUNK_ELEMENTS) -> Iterator[NDArray[np.float64]]:
        """Yield weights [r, n_images] with at most `max_elements` entries (but at least one resample)."""
        rng = np.random.default_rng(self.seed)
        size = max(1, max_elements // self.n_images)
        for start in range(0, self.n_resamples, size):
            rows = min(size, self.n_resamples - start)
            counts = np.empty((rows, self.n_groups), dtype=np.float64)
            for row in range(rows):
                # One draw a resample, so that the stream of numbers does not depend on the chunks.
                drawn = rng.integers(self.n_groups, size=self.n_groups)
                counts[row] = np.bincount(drawn, minlength=self.n_groups)
            yield counts[:, self.codes]

    def weights(self) -> NDArray[np.float64]:
        """Return all weights at once, float64 [n_resamples, n_images]; for small samples."""
        empty = np.empty((0, self.n_images), dtype=np.float64)
        return np.concatenate([empty, *self.chunks()])


def group_resamples(groups: Iterable[Any], n_resamples: int = 2000, seed: int = 0) -> GroupResamples:
    """Draw groups with replacement, as many as there are: the cluster bootstrap.

    An image's weight in a resample is how often its group was drawn. Images of one patient, or near
    duplicates of one film, thus come and go together, and an interval is not made narrow by copies.

    Parameters
    ----------
    groups : iterable of str or int, length n_images
        The group of each image. An unknown one ("", None or nan) makes the image a group of its own:
        taking all unknowns for one patient would be worse.
    n_resamples : int
        Number of resamples; 0 for none.
    seed : int
        Seed of the generator; equal seeds and groups give equal weights.

    Returns
    -------
    GroupResamples
        Iterable of weight arrays [r, n_images].

    Raises
    ------
    DataError
        If there are no images, or `n_resamples` is negative.

    References
    ----------
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, chapters 6, 8 and 13.
    Field, Welsh (2007), Bootstrapping clustered data, J. R. Stat. Soc. B 69(3), 369-390.
    """
    if n_resamples < 0:
        raise DataError(f"n_resamples is {n_resamples}; expected 0 (no intervals) or more, usually 2000")
    numbers: dict[Any, int] = {}
    codes: list[int] = []
    for index, group in enumerate(groups):
        unknown = group is None or group == "" or (isinstance(group, float) and math.isnan(group))
        key = (_UNKNOWN, index) if unknown else group
        codes.append(numbers.setdefault(key, len(numbers)))
    if not codes:
        raise DataError("there are no groups to draw from: the sample is empty; expected one group an image")
    return GroupResamples(np.asarray(codes, dtype=np.int64), len(numbers), n_resamples, seed)


def percentile_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a figure.

    Parameters
    ----------
    values : array-like, shape [n_resamples]
        The figure in each resample. Resamples in which it is undefined (nan, for instance because a
        class was not drawn) are left out.
    level : float
        Coverage, above 0 and below 1.

    Returns
    -------
    low, high : float
        Both nan if no resample defines the figure.

    Raises
    ------
    DataError
        If `level` is not between 0 and 1.

    References
    ----------
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, section 13.3.
    """
    if not 0 < level < 1:
        raise DataError(f"level is {level}; expected a coverage between 0 and 1, such as 0.95")
    array = np.asarray(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    if array.size == 0:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low, high = np.quantile(array, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_estimates(
    statistics: Callable[[NDArray[np.float64]], dict[Key, NDArray[np.float64]]],
    resamples: GroupResamples,
    level: float = 0.95,
) -> dict[Key, Estimate]:
    """Compute figures on the sample and their percentile intervals over resamples.

    Parameters
    ----------
    statistics : callable
        Takes weights [r, n_images] and returns, for each figure, its value under each of the r rows,
        [r]. The difference of two models is one more figure: see the example.
    resamples : GroupResamples
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict of Estimate
        The values are those with all weights 1. With a single group nothing tells how groups differ,
        so the intervals are nan.

    Examples
    --------
    >>> def difference(weights):
    ...     one = classification_metrics(labels, first, weights, classes)
    ...     two = classification_metrics(labels, second, weights, classes)
    ...     return {key: one[key] - two[key] for key in one}
    >>> bootstrap_estimates(difference, group_resamples(groups))  # doctest: +SKIP
    """
    point = statistics(np.ones((1, resamples.n_images), dtype=np.float64))
    values: dict[Key, list[NDArray[np.float64]]] = {key: [] for key in point}
    if resamples.n_groups > 1:
        for weights in resamples:
            for key, column in statistics(weights).items():
                values[key].append(column)
    estimates: dict[Key, Estimate] = {}
    for key, column in point.items():
        value = float(column[0])
        pieces = values[key]
        # An interval around a figure that the sample cannot tell would suggest that it can.
        if not pieces or math.isnan(value):
            estimates[key] = Estimate(value)
        else:
            estimates[key] = Estimate(value, *percentile_interval(np.concatenate(pieces), level))
    return estimates


def exact_share(estimate: Estimate, n: int, level: float = 0.95) -> Estimate:
    """Return a share with the exact binomial interval where resampling cannot give one.

    All resamples of a share of 0 or 1 have the same share, however small the sample is.

    Parameters
    ----------
    found : Estimate
        Of a share.
    n : int
        Independent images (groups) behind it.
    level : float, default=0.95

    References
    ----------
    Clopper, Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the binomial,
    Biometrika 26(4), 404-413.
    """
    if estimate.value not in (0.0, 1.0) or n < 1:
        return estimate
    ends = binomtest(round(estimate.value * n), n).proportion_ci(level)
    return Estimate(estimate.value, float(ends.low), float(ends.high))


def weighted_quantile(
    values: NDArray[np.float64], weights: NDArray[np.float64], quantile: float
) -> NDArray[np.float64]:
    """Return a quantile of `values` under each row of whole-number weights.

    Equals ``numpy.quantile(numpy.repeat(values, weights_row), quantile)`` without building the
    repeated arrays.

    Parameters
    ----------
    values : ndarray, shape [n]
        Finite values.
    weights : ndarray, shape [r, n]
        Whole numbers, 0 or more.
    quantile : float
        Between 0 and 1.

    Returns
    -------
    ndarray, shape [r]
        nan where all weights of a row are 0.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    cumulated = np.cumsum(weights[:, order], axis=1)
    total = cumulated[:, -1] if ordered.size else np.zeros(len(weights))
    drawn = total > 0
    position = quantile * (total[drawn] - 1)
    below = np.floor(position)
    above = np.ceil(position)
    # The item at 0-based position p of the repeated array is the first whose cumulated weight exceeds p.
    first = ordered[(cumulated[drawn] <= below[:, None]).sum(axis=1)]
    second = ordered[(cumulated[drawn] <= above[:, None]).sum(axis=1)]
    result = np.full(len(weights), np.nan)
    result[drawn] = first + (position - below) * (second - first)
    return result
