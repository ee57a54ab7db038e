from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from scipy.special import softmax as scipy_softmax

from lungcls.errors import DataError
from lungcls.evaluation.calibration import expected_calibration_error, fit_bias, fit_temperature, softmax


def _calibrated(n, seed=0):
    """Logits whose softmax is exactly the chance of each label."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n, 4))
    uniform = rng.random((n, 1))
    labels = (np.cumsum(scipy_softmax(logits, axis=1), axis=1) < uniform).sum(axis=1)
    return logits, np.minimum(labels, 3)


def test_softmax_agrees_with_scipy():
    logits = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(softmax(logits), scipy_softmax(logits, axis=1))
    np.testing.assert_allclose(softmax(logits, 2.5), scipy_softmax(logits / 2.5, axis=1))


def test_softmax_of_large_logits_does_not_overflow():
    np.testing.assert_allclose(softmax([1000.0, 999.0, -1000.0]), [1 / (1 + 1 / math.e), 1 / (1 + math.e), 0])


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_softmax_refuses_an_impossible_temperature(temperature):
    with pytest.raises(DataError, match="temperature"):
        softmax([1.0, 2.0], temperature)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 1.7, 6.0])
def test_a_known_temperature_is_found_again(temperature):
    logits, labels = _calibrated(20_000)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.03)


def test_the_fitted_temperature_lowers_the_calibration_error():
    logits, labels = _calibrated(20_000)
    overconfident = logits * 3
    before = expected_calibration_error(softmax(overconfident), labels)
    after = expected_calibration_error(softmax(overconfident, fit_temperature(overconfident, labels)), labels)
    assert before > 0.1
    assert after < 0.015


def test_a_model_that_is_never_wrong_keeps_its_temperature_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        temperature = fit_temperature([[2.0, 0.0], [0.0, 2.0]], [0, 1])
    assert temperature == 1.0
    assert "all 2 images" in caplog.text


def test_a_model_worse_than_chance_is_flattened_as_far_as_it_goes():
    assert fit_temperature([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]], [1, 0, 1]) == pytest.approx(50, rel=0.01)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_bias_is_found_again(temperature):
    logits, labels = _calibrated(20_000)
    bias = np.array([1.2, -0.4, 0.3, -1.1])
    wrong = temperature * (logits - bias)
    found = fit_bias(wrong, labels)
    np.testing.assert_allclose(found, temperature * bias, atol=0.1 * temperature)
    assert found.mean() == pytest.approx(0, abs=1e-9)
    # The temperature is fitted afterwards and finds what it would have.
    assert fit_temperature(wrong + found, labels) == pytest.approx(temperature, rel=0.03)
    assert (softmax(wrong + found).argmax(1) == labels).mean() > (wrong.argmax(1) == labels).mean()


def test_the_bias_of_a_class_without_images_is_finite():
    logits, labels = _calibrated(500)
    found = fit_bias(logits[labels < 3], labels[labels < 3])
    assert np.isfinite(found).all()
    assert found[3] == found.min()


def test_a_model_that_is_never_wrong_gets_no_bias():
    assert fit_bias([[2.0, 0.0], [0.0, 2.0]], [0, 1]).tolist() == [0, 0]


def test_logits_that_say_nothing_keep_the_temperature():
    assert fit_temperature(np.zeros((6, 4)), [0, 1, 2, 3, 0, 1]) == 1.0


def test_calibration_error_by_hand():
    probabilities = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]]
    labels = [0, 1, 0, 1]
    # Of the two at 0.9 one is right (gap 0.4), of the two at 0.6 both are (gap 0.4).
    assert expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(0.4)
    # In a single bin the gaps cancel: mean confidence 0.75, accuracy 0.75.
    assert expected_calibration_error(probabilities, labels, bins=1) == pytest.approx(0)


def test_calibration_error_takes_certainty_into_the_last_bin():
    assert expected_calibration_error([[1.0, 0.0], [0.0, 1.0]], [0, 0]) == pytest.approx(0.5)


def test_bins_are_closed_above():
    # 0.8 belongs with 0.7, in (0.6, 0.8], and not with 0.9: gaps cancel within a bin only.
    probabilities = [[0.8, 0.2], [0.7, 0.3], [0.9, 0.1]]
    assert expected_calibration_error(probabilities, [0, 1, 0], bins=5) == pytest.approx((0.5 + 0.1) / 3)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.5, 0.5], [0, 1], r"\[N, K\]"),
        ([[1.0], [1.0]], [0, 0], "at least two"),
        (np.empty((0, 4)), np.empty(0, dtype=int), "at least one"),
        ([[0.5, 0.5]], [0, 1], "one an image"),
        ([[0.5, 0.5]], [0.0], "whole numbers"),
        ([[0.5, 0.5]], [2], "expected 0 to 1"),
        ([[0.5, 0.5]], [-1], "expected 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(scores, labels, message):
    with pytest.raises(DataError, match=message):
        expected_calibration_error(scores, labels)
    with pytest.raises(DataError, match=message):
        fit_temperature(scores, labels)


def test_other_impossible_values_are_refused():
    with pytest.raises(DataError, match="bins"):
        expected_calibration_error([[0.5, 0.5]], [0], bins=0)
    with pytest.raises(DataError, match="nan or infinite"):
        fit_temperature([[math.nan, 0.0]], [0])
