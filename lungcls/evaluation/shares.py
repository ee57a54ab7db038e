"""Shares of films, and weighted sums of them, with intervals that have a width at 0 and at 1, too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from lungcls.evaluation.bootstrap import Estimate, group_resamples


@dataclass(frozen=True)
class GroupedShare:
    """How many of some films are right, say, and how much evidence they are.

    Attributes
    ----------
    value : float
        Between 0 and 1.
    films : int
    evidence : float
        Independent films that would tell as much: ``films ** 2 / sum(size ** 2)`` over the sizes of the
        groups, as if all films of a group had one answer. The number of groups, where they are of one size.

    References
    ----------
    Kish (1965), Survey Sampling, Wiley, section 5.4.
    """

    value: float
    films: int
    evidence: float

    @classmethod
    def of(
        cls, right: NDArray[np.bool_], groups: Sequence[str], chosen: NDArray[np.bool_] | None = None
    ) -> GroupedShare:
        """Count films.

        Parameters
        ----------
        right : bool array [N]
        groups : sequence of str, length N
            A film of an unknown group ("") counts by itself.
        chosen : bool array [N], optional
            The films that are counted, one or more; by default all.
        """
        at = np.arange(len(right)) if chosen is None else np.flatnonzero(chosen)
        sizes = np.bincount(group_resamples([groups[i] for i in at.tolist()], 0).codes)
        return cls(float(right[at].mean()), len(at), float(len(at) ** 2 / np.square(sizes).sum()))

    def estimate(self, level: float = 0.95) -> Estimate:
        """Return the share with Wilson's interval."""
        low, high = proportion_confint(self.value * self.evidence, self.evidence, 1 - level, "wilson")
        return Estimate(self.value, float(low), float(high))


def weighted_sum(shares: Sequence[GroupedShare], weights: Sequence[float]) -> Estimate:
    """Return a weighted sum of shares of different films with its 95% interval.

    The ends are recovered from Wilson's intervals of the shares; of a difference of two it is Newcombe's.

    References
    ----------
    Zou, Huang, Zhang (2009), A note on confidence interval estimation for a linear function of binomial
    proportions, Computational Statistics & Data Analysis 53(4), 1080-1085.
    """
    value = below = above = 0.0
    for share, weight in zip(shares, weights, strict=True):
        found = share.estimate()
        down, up = found.value - found.low, found.high - found.value
        if weight < 0:
            down, up = up, down
        value += weight * found.value
        below += (weight * down) ** 2
        above += (weight * up) ** 2
    return Estimate(value, value - math.sqrt(below), value + math.sqrt(above))
