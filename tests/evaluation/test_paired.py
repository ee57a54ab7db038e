"""Paired tests against hand-computed and brute-force values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import group_resamples
from lungcls.evaluation.operating import specificity_at_sensitivity
from lungcls.evaluation.paired import (
    auroc_influence,
    bootstrap_difference,
    delong_test,
    holm,
    macro_delong_test,
    mcnemar_test,
)


def _brute_force_delong(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Difference and p value straight from the formulas of DeLong et al. (1988)."""
    areas, places = [], []
    for scores in (first, second):
        x, y = scores[positive], scores[~positive]
        kernel = (x[:, None] > y).astype(float) + 0.5 * (x[:, None] == y)
        areas.append(kernel.mean())
        places.append((kernel.mean(1), kernel.mean(0)))
    m, n = positive.sum(), (~positive).sum()
    s10 = np.cov(places[0][0], places[1][0])
    s01 = np.cov(places[0][1], places[1][1])
    covariance = s10 / m + s01 / n
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    difference = areas[1] - areas[0]
    return difference, 2 * norm.sf(abs(difference) / np.sqrt(variance))


@pytest.mark.parametrize("digits", [1, 6])
def test_delong_is_the_formula_with_and_without_ties(digits: int) -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(60) < 0.4
    first = np.round(positive + rng.normal(0, 1.0, 60), digits)
    second = np.round(positive + rng.normal(0, 1.5, 60), digits)
    difference, p = _brute_force_delong(positive, first, second)
    found = delong_test(positive, first, second)
    assert found.value == pytest.approx(difference)
    assert found.p == pytest.approx(p)
    assert found.low < found.value < found.high


def test_delong_by_hand() -> None:
    # Positives 3, 1; negatives 2, 0: three of the four pairs are in order.
    area, influence = auroc_influence(np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False]))
    assert area == 0.75
    # Placements 1 and 0.5 of the positives, 0.5 and 1 of the negatives: variance 0.125 / 2 + 0.125 / 2.
    assert (influence**2).sum() == pytest.approx(0.125)


def test_copies_do_not_make_delong_surer_when_groups_are_known() -> None:
    rng = np.random.default_rng(1)
    positive = rng.random(50) < 0.5
    first, second = positive + rng.normal(0, 1, 50), positive + rng.normal(0, 2, 50)
    once = delong_test(positive, first, second)
    copied = [np.tile(values, 4) for values in (positive, first, second)]
    assert delong_test(*copied).p < once.p / 2
    grouped = delong_test(*copied, groups=np.tile(np.arange(50), 4))
    assert grouped.p == pytest.approx(once.p, rel=0.15)


def test_macro_delong_of_two_classes_is_delong() -> None:
    rng = np.random.default_rng(2)
    labels = (rng.random(40) < 0.5).astype(int)
    first, second = labels + rng.normal(0, 1, 40), labels + rng.normal(0, 1, 40)
    one = delong_test(labels == 1, first, second)
    two = macro_delong_test(labels, np.stack([-first, first], 1), np.stack([-second, second], 1))
    assert (two.value, two.p) == pytest.approx((one.value, one.p))


def test_delong_needs_two_of_each() -> None:
    with pytest.raises(DataError, match="at least two of each"):
        delong_test([True, False, False], [1, 2, 3], [1, 2, 3])


def test_mcnemar_by_hand() -> None:
    # Five images only the first knows, one only the second: 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64.
    first = [True] * 5 + [False] + [True] * 7 + [False] * 2
    second = [False] * 5 + [True] + [True] * 7 + [False] * 2
    found = mcnemar_test(first, second)
    assert (found.only_first, found.only_second, found.p) == (5, 1, pytest.approx(14 / 64))
    assert mcnemar_test(first, first).p == 1.0


def test_mcnemar_by_group_flips_whole_groups() -> None:
    # Groups that differ by 2, 1 and -1: of the 8 sums of signs, +-4 and +-2 (six) reach the 2 that was seen.
    first = [True, True, False, True, False, True]
    second = [False, False, False, False, True, True]
    found = mcnemar_test(first, second, ["a", "a", "a", "b", "c", "c"])
    assert (found.only_first, found.only_second, found.p) == (3, 1, pytest.approx(6 / 8))


def test_copies_give_no_false_alarms_where_groups_are_known() -> None:
    rng = np.random.default_rng(0)
    alarms = {"by group": 0, "by image": 0}
    for _ in range(200):
        # Forty groups of six copies that get one answer; neither classifier is better.
        one, two = (np.repeat(rng.random(40) < 0.7, 6) for _ in range(2))
        groups = np.repeat(np.arange(40), 6)
        alarms["by group"] += mcnemar_test(one, two, groups).p < 0.05
        alarms["by image"] += mcnemar_test(one, two).p < 0.05
    assert alarms["by group"] <= 16
    assert alarms["by image"] > 40


def test_few_groups_tell_nothing_of_an_area() -> None:
    found = delong_test([1, 1, 0, 0, 1], [3, 2, 1, 2, 3], [1, 2, 3, 1, 2], ["a"] * 5)
    assert np.isnan([found.low, found.high, found.p]).all()
    assert np.isfinite(found.value)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, times 3, 2, 1, never falling.
    assert holm([0.03, 0.01, float("nan"), 0.02]) == pytest.approx([0.04, 0.03, np.nan, 0.04], nan_ok=True)
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_bootstrap_difference_sees_a_real_one_and_no_other() -> None:
    right = np.arange(200) % 10 != 0
    wrong = np.arange(200) % 2 == 0
    resamples = group_resamples(range(200), 400)

    def share(values: np.ndarray):
        return lambda weights: weights @ values / weights.sum(1)

    found = bootstrap_difference(share(wrong.astype(float)), share(right.astype(float)), resamples)
    assert found.value == pytest.approx(0.4)
    assert found.low > 0
    assert found.p == pytest.approx(2 / 401)
    same = bootstrap_difference(share(wrong.astype(float)), share(wrong.astype(float)), resamples)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_specificity_at_sensitivity_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.7, 0.6, 0.2])
    positive = np.array([True, False, True, False, True, False])
    # For two of three positives the threshold is 0.7, and the tie takes a negative along: 1 of 3 is spared.
    figures = specificity_at_sensitivity(scores, positive, np.ones((1, 6)), 0.6)
    assert figures[0] == pytest.approx(1 / 3)
    # A weight of 0 takes the tied negative away, and no positives leave nothing to tell.
    weights = np.array([[1, 1, 1, 0, 1, 1], [0, 1, 0, 1, 0, 1]], float)
    figures = specificity_at_sensitivity(scores, positive, weights, 0.6)
    assert figures == pytest.approx([1 / 2, np.nan], nan_ok=True)
