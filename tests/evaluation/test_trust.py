from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from lungcls.errors import DataError
from lungcls.evaluation.calibration import calibration_metrics, expected_calibration_error, softmax
from lungcls.evaluation.recalibrate import calibrated
from lungcls.evaluation.trust import AFTER, BEFORE, predicted_sets, trust_report
from lungcls.labels import CLASSES
from lungcls.prediction import HIGH, MODERATE
from lungcls.weights import Card


@pytest.fixture
def card(make_card_values) -> Card:
    return Card(**make_card_values(temperature=1.0), sha256="0" * 64)


def _sample(n, seed=0, sharpness=3.0):
    """Overconfident logits: `sharpness` times those whose softmax is the chance of each label."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n, 4))
    uniform = rng.random((n, 1))
    labels = np.minimum((np.cumsum(softmax(logits), axis=1) < uniform).sum(axis=1), 3)
    return logits * sharpness, labels


def _report(card, n=600, **options):
    return trust_report(*_sample(n, 1), range(n), card, **{"n_resamples": 50, **options})


@pytest.fixture
def fitted(card) -> Card:
    return calibrated(card, *_sample(2000), range(2000), {"dataset": "generated"})


def test_calibrating_finds_the_temperature_and_makes_what_is_asked_for_hold(card, fitted):
    assert fitted.temperature == pytest.approx(3, rel=0.1)
    assert fitted.conformal["data"] == {"dataset": "generated"}
    assert replace(fitted, temperature=1.0, conformal={}) == card
    report = _report(fitted, 4000)
    before, after = report.calibration[BEFORE], report.calibration[AFTER]
    for metric in ("ece", "nll", "brier", "classwise_ece"):
        assert after[metric, ""].value < before[metric, ""].value
    assert after["ece", ""].value < 0.03
    for asked, figures in report.conformal.items():
        for name in ("", *CLASSES):
            held = figures["coverage", name]
            # The standard deviation over calibrations of 500 images a class is up to 0.018.
            assert held.value > asked - 0.055
            assert held.low <= held.value <= held.high
    sizes = [figures["set_size", ""].value for figures in report.conformal.values()]
    assert sizes == sorted(sizes)


def test_without_conformal_scores_there_are_no_sets(card):
    report = _report(card)
    assert report.conformal == {}
    assert predicted_sets(np.full((2, 4), 0.25), card) == {}
    assert not any("conformal" in row["metric"] for row in report.to_rows())


def test_the_most_probable_class_is_in_its_set(fitted):
    probabilities = np.array([[0.26, 0.25, 0.25, 0.24], [0.97, 0.01, 0.01, 0.01]])
    for sets in predicted_sets(probabilities, fitted, (0.01, 0.5)).values():
        assert sets[:, 0].all()


def test_classwise_error_by_hand():
    # Class 0: both at 0.9, one is it, gap 0.4; class 1: both at 0.1, one is it, gap 0.4.
    found = calibration_metrics(
        np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]]), np.ones((1, 2)), ("a", "b")
    )
    assert found["ece", "a"][0] == pytest.approx(0.4)
    assert found["ece", "b"][0] == pytest.approx(0.4)
    assert found["classwise_ece", ""][0] == pytest.approx(0.4)


def test_each_class_against_the_rest_is_a_calibration_error_of_its_own():
    logits, labels = _sample(500)
    p = softmax(logits)
    found = calibration_metrics(labels, p, np.ones((1, 500)), CLASSES)
    for column, name in enumerate(CLASSES):
        edges = np.digitize(p[:, column], np.linspace(0, 1, 16)[1:-1], right=True)
        expected = sum(
            abs((labels[edges == b] == column).mean() - p[edges == b, column].mean()) * (edges == b).mean()
            for b in np.unique(edges)
        )
        assert found["ece", name][0] == pytest.approx(expected)
    mean = np.mean([found["ece", name][0] for name in CLASSES])
    assert found["classwise_ece", ""][0] == pytest.approx(mean)
    absent = calibration_metrics(labels[labels > 0], p[labels > 0], np.ones((1, (labels > 0).sum())), CLASSES)
    assert math.isnan(absent["ece", CLASSES[0]][0])
    assert np.isfinite(absent["classwise_ece", ""][0])


def test_tiers_share_out_all_images(fitted):
    report = _report(fitted)
    p = softmax(_sample(600, 1)[0], fitted.temperature)
    right = p.argmax(axis=1) == _sample(600, 1)[1]
    assert sum(tier["images"] for tier in report.tiers.values()) == 600
    for name, low, high in (("high", HIGH, 2), ("moderate", MODERATE, HIGH), ("low", 0, MODERATE)):
        own = (p.max(axis=1) >= low) & (p.max(axis=1) < high)
        found = report.tiers[name]
        assert found["images"] == own.sum()
        assert found["share"].value == pytest.approx(own.mean())
        assert found["accuracy"].value == pytest.approx(right[own].mean())


def test_error_detection_agrees_with_scikit_learn(fitted):
    logits, labels = _sample(600, 1)
    p = softmax(logits, fitted.temperature)
    wrong = p.argmax(axis=1) != labels
    found = _report(fitted).error_detection
    ordered = np.sort(p, axis=1)
    expected = {
        "max_probability": -ordered[:, -1],
        "margin": ordered[:, -2] - ordered[:, -1],
        "entropy": -(p * np.log(p)).sum(axis=1),
    }
    assert found.keys() == expected.keys()
    for name, doubt in expected.items():
        assert found[name].value == pytest.approx(metrics.roc_auc_score(wrong, doubt), abs=1e-9)
        assert found[name].low < found[name].value < found[name].high


def test_bins_of_the_reliability_diagram_give_the_calibration_error(fitted):
    logits, labels = _sample(600, 1)
    values = _report(fitted).to_dict()
    json.dumps(values, allow_nan=False)
    for when, temperature in ((BEFORE, 1), (AFTER, fitted.temperature)):
        bins = values["reliability"][when]
        error = sum(row["images"] * abs(row["accuracy"]["value"] - row["confidence"]) for row in bins) / 600
        assert error == pytest.approx(expected_calibration_error(softmax(logits, temperature), labels))
        assert error == pytest.approx(values["calibration"][when]["overall"]["ece"]["value"])
        assert all(row["from"] <= row["confidence"] <= row["to"] for row in bins)


def test_rows_hold_every_figure_once(fitted, tmp_path):
    rows = _report(fitted).to_rows()
    assert all(list(row) == ["metric", "class", "value", "low", "high", "n"] for row in rows)
    names = [(row["metric"], row["class"]) for row in rows]
    # 11 uncalibrated, 4 coverages of 3 figures for all and each class and the share of empty sets, 3 tiers of
    # 2, 3 of error detection.
    assert len(set(names)) == len(names) == 11 + 4 * (3 * 5 + 1) + 3 * 2 + 3
    assert ("conformal_coverage@0.9", "COVID") in names
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.DictWriter(file, rows[0]).writerows(rows)


def test_what_does_not_fit_is_refused(card):
    with pytest.raises(DataError, match="3 columns for the 4 classes"):
        trust_report(np.zeros((2, 3)), [0, 1], [1, 2], card)
    with pytest.raises(DataError, match="3 groups for 2 images"):
        trust_report(np.zeros((2, 4)), [0, 1], [1, 2, 3], card)
