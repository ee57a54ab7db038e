from __future__ import annotations

import json
import math

import numpy as np
import pytest

from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import (
    Estimate,
    bootstrap_estimates,
    group_resamples,
    percentile_interval,
    weighted_quantile,
)


def test_images_of_a_group_come_and_go_together():
    weights = group_resamples(["a", "b", "a", "c", "b"], n_resamples=200).weights()
    assert weights.shape == (200, 5)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    assert (weights[:, 0] != weights[:, 1]).any()


def test_as_many_groups_are_drawn_as_there_are():
    weights = group_resamples(["a", "b", "a", "c", "b"], n_resamples=50).weights()
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)


def test_every_group_is_drawn_equally_often():
    weights = group_resamples(range(10), n_resamples=4000, seed=1).weights()
    # The mean of 4000 draws of a variance of 0.9 lies within 5 standard errors, 0.075, of 1.
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.075)
    np.testing.assert_allclose(weights.var(axis=0), 0.9, atol=0.12)


@pytest.mark.parametrize("unknown", ["", None, float("nan")])
def test_unknown_groups_are_not_one_group(unknown):
    resamples = group_resamples(["a", unknown, unknown, "a"])
    assert resamples.n_groups == 3
    assert len(set(resamples.codes.tolist())) == 3


def test_the_seed_decides_the_weights():
    groups = list(range(20))
    first = group_resamples(groups, 30, seed=4)
    np.testing.assert_array_equal(first.weights(), group_resamples(groups, 30, seed=4).weights())
    np.testing.assert_array_equal(first.weights(), first.weights())
    assert (first.weights() != group_resamples(groups, 30, seed=5).weights()).any()


@pytest.mark.parametrize("max_elements", [1, 33, 10_000])
def test_chunks_are_bounded_and_do_not_change_the_weights(max_elements):
    resamples = group_resamples(list("aabcdefghi"), n_resamples=25)
    chunks = list(resamples.chunks(max_elements))
    assert all(chunk.size <= max(max_elements, 10) for chunk in chunks)
    np.testing.assert_array_equal(np.concatenate(chunks), resamples.weights())


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(DataError, match="empty"):
        group_resamples([])
    with pytest.raises(DataError, match="n_resamples is -1"):
        group_resamples(["a"], n_resamples=-1)


def test_percentile_interval_is_of_the_middle():
    assert percentile_interval(np.arange(101), level=0.9) == pytest.approx((5, 95))
    assert percentile_interval(np.arange(101)) == pytest.approx((2.5, 97.5))


def test_percentile_interval_leaves_out_undefined_resamples():
    assert percentile_interval([math.nan, *range(101), math.nan], level=0.9) == pytest.approx((5, 95))
    assert all(math.isnan(end) for end in percentile_interval([math.nan]))
    assert all(math.isnan(end) for end in percentile_interval([]))


@pytest.mark.parametrize("level", [0, 1, 95])
def test_percentile_interval_refuses_an_impossible_level(level):
    with pytest.raises(DataError, match="level"):
        percentile_interval([1, 2], level=level)


def _mean_of(values):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def test_interval_of_a_mean_agrees_with_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    estimate = bootstrap_estimates(_mean_of(values), group_resamples(range(400)))["mean"]
    assert estimate.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.02)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.02)


def test_copies_do_not_make_an_interval_narrow():
    values = np.random.default_rng(0).normal(size=100)
    copied = np.repeat(values, 9)
    single = bootstrap_estimates(_mean_of(values), group_resamples(range(100)))["mean"]
    grouped = bootstrap_estimates(_mean_of(copied), group_resamples(np.repeat(np.arange(100), 9)))["mean"]
    blind = bootstrap_estimates(_mean_of(copied), group_resamples(range(900)))["mean"]
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high))
    # Nine times the images, a third of the width: what the blind interval claims.
    assert (blind.high - blind.low) / (grouped.high - grouped.low) == pytest.approx(1 / 3, abs=0.05)


def test_one_group_gives_no_interval():
    estimate = bootstrap_estimates(_mean_of(np.array([1.0, 3.0])), group_resamples(["a", "a"]))["mean"]
    assert estimate.value == 2
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_a_paired_difference_of_equals_is_nothing():
    values = np.random.default_rng(0).normal(size=50)

    def difference(weights):
        one, other = _mean_of(values)(weights)["mean"], _mean_of(values + 1)(weights)["mean"]
        return {"difference": other - one}

    estimate = bootstrap_estimates(difference, group_resamples(range(50)))["difference"]
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("quantile", [0, 0.05, 0.31, 0.5, 1])
def test_weighted_quantile_is_that_of_the_repeated_values(quantile):
    rng = np.random.default_rng(2)
    values = rng.integers(8, size=13).astype(float)
    weights = rng.integers(0, 4, size=(40, 13)).astype(float)
    expected = [np.quantile(np.repeat(values, row.astype(int)), quantile) for row in weights]
    np.testing.assert_allclose(weighted_quantile(values, weights, quantile), expected)


def test_weighted_quantile_of_nothing_is_undefined():
    result = weighted_quantile(np.array([1.0, 2.0]), np.array([[0.0, 0.0], [0.0, 3.0]]), 0.5)
    assert math.isnan(result[0])
    assert result[1] == 2
    assert np.isnan(weighted_quantile(np.empty(0), np.empty((2, 0)), 0.5)).all()


def test_an_estimate_is_safe_for_json():
    assert json.dumps(Estimate(0.5).to_dict(), allow_nan=False) == '{"value": 0.5, "low": null, "high": null}'
