"""Shares by group against statsmodels, and what they say of groups of unequal size."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from lungcls.evaluation.shares import GroupedShare, weighted_sum


def share(right: int, n: int) -> GroupedShare:
    return GroupedShare.of(np.arange(n) < right, [""] * n)


@pytest.mark.parametrize(("one", "two"), [((18, 20), (31, 50)), ((20, 20), (30, 30)), ((0, 25), (12, 40))])
def test_a_difference_has_newcombes_interval(one: tuple[int, int], two: tuple[int, int]) -> None:
    found = weighted_sum([share(*one), share(*two)], [1, -1])
    low, high = confint_proportions_2indep(*one, *two, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.low < found.value < found.high


def test_a_share_has_wilsons_interval_and_weights_scale_it() -> None:
    found = share(7, 30).estimate()
    assert (found.low, found.high) == pytest.approx(proportion_confint(7, 30, method="wilson"))
    turned = weighted_sum([share(7, 30)], [-0.5])
    assert (turned.low, turned.high) == pytest.approx((-0.5 * found.high, -0.5 * found.low))


def test_films_of_one_group_are_no_further_evidence() -> None:
    right = np.arange(40) % 2 == 0
    pairs = [str(i // 2) for i in range(40)]
    assert GroupedShare.of(right, pairs).evidence == 20
    assert GroupedShare.of(right, pairs, np.arange(40) < 10).evidence == 5
    # One patient with 30 films and ten with one each tell less than eleven patients.
    uneven = ["p"] * 30 + [f"q{i}" for i in range(10)]
    assert GroupedShare.of(right, uneven).evidence == pytest.approx(1600 / 910)
    assert GroupedShare.of(right, [""] * 40).evidence == 40
