"""Calibration errors whose intervals hold the true one."""

from __future__ import annotations

import numpy as np
import pytest

from lungcls.evaluation.bootstrap import group_resamples
from lungcls.evaluation.calibration import expected_calibration_error
from lungcls.evaluation.calibration_error import calibration_errors
from lungcls.evaluation.classification import classification_report

CLASSES = ("a", "b", "c")
Floats = np.ndarray


def softmax(logits: Floats) -> Floats:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def world(rng: np.random.Generator, n: int, temperature: float) -> tuple[Floats, Floats, Floats]:
    """Probabilities that a model says, those that are true, and labels drawn from these."""
    logits = 2 * rng.normal(size=(n, len(CLASSES)))
    said, true = softmax(logits), softmax(logits / temperature)
    return said, true, (true.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)


def true_error(temperature: float) -> float:
    """ECE without chance: outcomes are put in place by their own probabilities, on very many films."""
    said, true, _ = world(np.random.default_rng(0), 200_000, temperature)
    top = said.argmax(axis=1)
    confidence, right = said.max(axis=1), true[np.arange(len(top)), top]
    place = np.minimum((confidence * 15).astype(int), 14)
    gaps = np.bincount(place, weights=right - confidence)
    return float(np.abs(gaps).sum() / len(top))


def coverage(temperature: float, n: int, runs: int) -> tuple[float, float, float]:
    """How often the interval holds the true error; mean estimate and mean plain figure."""
    wanted, held, estimates, plain = true_error(temperature), 0, [], []
    for seed in range(runs):
        said, _, labels = world(np.random.default_rng(seed + 1), n, temperature)
        found = calibration_errors(said, labels, range(n), CLASSES, draws=100, seed=seed)["ece", ""]
        held += found.estimate.low - 1e-9 <= wanted <= found.estimate.high + 1e-9
        estimates.append(found.estimate.value)
        plain.append(found.plain)
    return held / runs, float(np.mean(estimates)), float(np.mean(plain))


def test_intervals_hold_the_true_error_where_percentiles_never_did() -> None:
    for temperature in (1.0, 1.6):
        share, estimate, plain = coverage(temperature, 150, 60)
        assert share >= 0.88  # three standard errors below 0.95 + what so few draws cost
        assert abs(estimate - true_error(temperature)) < abs(plain - true_error(temperature))


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 100, 300, 1500])
@pytest.mark.parametrize("temperature", [1.0, 1.3, 2.0])
def test_coverage_at_any_size(n: int, temperature: float) -> None:
    share, _, _ = coverage(temperature, n, 200)
    assert share >= 0.90


def test_a_calibrated_model_is_rarely_called_wrong_and_a_wrong_one_is() -> None:
    found = []
    for seed in range(40):
        said, _, labels = world(np.random.default_rng(seed), 200, 1.0)
        found.append(calibration_errors(said, labels, range(200), CLASSES, draws=100)["ece", ""].p)
    assert np.mean(np.asarray(found) <= 0.05) <= 0.15
    said, _, labels = world(np.random.default_rng(0), 600, 3.0)
    wrong = calibration_errors(said, labels, range(600), CLASSES)
    assert wrong["ece", ""].p < 0.01
    assert wrong["classwise_ece", ""].p < 0.01
    assert wrong["ece", ""].estimate.low > 0.05


def test_copies_make_no_interval_narrow() -> None:
    said, _, labels = world(np.random.default_rng(3), 120, 1.6)
    one = calibration_errors(said, labels, range(120), CLASSES)["ece", ""].estimate
    many = [np.repeat(values, 5, axis=0) for values in (said, labels, np.arange(120))]
    same = calibration_errors(*many, CLASSES)["ece", ""].estimate
    assert same.high - same.low == pytest.approx(one.high - one.low, rel=0.05)


def test_a_report_gives_the_plain_error_no_interval_and_the_debiased_one_does() -> None:
    said, _, labels = world(np.random.default_rng(5), 200, 1.5)
    report = classification_report(labels, said, [""] * 200, CLASSES, n_resamples=50)
    assert report.overall["ece"].value == pytest.approx(expected_calibration_error(said, labels))
    assert np.isnan(report.overall["ece"].low)
    assert np.isnan(report.per_class["a"]["ece"].low)
    debiased = report.overall["ece_debiased"]
    assert debiased.low <= debiased.value <= debiased.high
    assert 0 < report.overall["calibration_p"].value <= 1
    again = classification_report(labels, said, ["one"] * 200, CLASSES, n_resamples=50)
    assert "ece_debiased" not in again.overall
    assert group_resamples(["one"] * 2, 5).n_groups == 1
