import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from lungcls.classifier import finding_probabilities
from lungcls.data.dataset import Record
from lungcls.errors import DataError, WeightsError
from lungcls.evaluation.multilabel import calibrated_findings, finding_targets, findings_report
from lungcls.weights import Card, check_card

CLASSES = ("Effusion", "Mass")


@pytest.fixture
def card(make_card_values: Any) -> Card:
    values = make_card_values(classes=CLASSES, activation="sigmoid", sha256="0" * 64)
    return check_card(values, Path("card.json"))


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose log-odds are 2z - 1 and z / 2, and findings that are drawn with them; some unknown."""
    rng = np.random.default_rng(seed)
    logits = np.round(rng.normal(size=(count, 2)), 2)  # with ties
    true = 1 / (1 + np.exp(-(logits * [2, 0.5] + [-1, 0])))
    targets = (rng.random((count, 2)) < true).astype(np.int64)
    targets[rng.random((count, 2)) < 0.1] = -1
    return logits, targets


def test_targets_are_there_not_there_or_unknown() -> None:
    records = [Record("a", "", findings=("Mass",), unknown=("Effusion",)), Record("b", "")]
    assert finding_targets(records, CLASSES).tolist() == [[-1, 1], [0, 0]]


def test_slope_and_intercept_of_each_finding_are_found(card: Card) -> None:
    logits, targets = drawn(20_000)
    found = calibrated_findings(card, logits, targets, range(20_000), {})
    np.testing.assert_allclose(found.platt["Effusion"], [2, -1], atol=0.12)
    np.testing.assert_allclose(found.platt["Mass"], [0.5, 0], atol=0.06)
    check_card(found.to_dict(), Path("card.json"))
    held, truth = drawn(20_000, seed=1)
    report = findings_report(found, held, truth, range(20_000), n_resamples=0)
    assert report.estimates["ece", "Effusion"].value < 0.02
    assert report.estimates["coverage", "Effusion"].value == pytest.approx(0.9, abs=0.02)


def test_figures_are_those_of_scikit_learn(card: Card) -> None:
    logits, targets = drawn(300)
    card = replace(card, platt={"Effusion": [2.0, -1.0], "Mass": [0.5, 0.0]})
    card = calibrated_findings(card, logits, targets, range(300), {})
    report = findings_report(card, logits, targets, [index // 2 for index in range(300)], n_resamples=50)
    probabilities = finding_probabilities(logits, card)
    for column, name in enumerate(CLASSES):
        known = targets[:, column] >= 0
        truth, scores = targets[known, column], probabilities[known, column]
        said = scores >= card.thresholds[name]
        assert report.estimates["auroc", name].value == pytest.approx(roc_auc_score(truth, scores))
        expected = average_precision_score(truth, scores)
        assert report.estimates["average_precision", name].value == pytest.approx(expected)
        assert report.estimates["f1", name].value == pytest.approx(f1_score(truth, said))
        estimate = report.estimates["auroc", name]
        assert estimate.low < estimate.value < estimate.high
        assert report.counts[name] == (truth.sum(), (truth == 0).sum())
    mean = np.mean([report.estimates["f1", name].value for name in CLASSES])
    assert report.estimates["f1", ""].value == pytest.approx(mean)


def test_a_finding_on_no_film_is_refused_and_has_no_figures(card: Card) -> None:
    logits, targets = drawn(50)
    targets[:, 1] = 0
    with pytest.raises(DataError, match="'Mass' is on 0 of the 50 films"):
        calibrated_findings(card, logits, targets, range(50), {})
    stored = {name: {"images": 0, "groups": 0, "below": [], "scores": []} for name in CLASSES}
    card = replace(card, conformal={"score": "lac", "classes": stored})
    report = findings_report(card, logits, targets, range(50), n_resamples=0)
    assert math.isnan(report.estimates["auroc", "Mass"].value)
    assert not math.isnan(report.estimates["auroc", ""].value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"platt": {"Mass": [1, 0]}}, "platt must have an entry for each"),
        ({"platt": {"Effusion": [1], "Mass": [1, 0]}}, "two finite numbers"),
        ({"thresholds": {"Effusion": 2.0, "Mass": 0.5}}, "between 0 and 1"),
        ({"activation": "tanh"}, "one of softmax, sigmoid"),
        ({"activation": "softmax", "platt": {"Mass": [1, 0]}}, "goes with the activation sigmoid"),
    ],
)
def test_impossible_cards_are_refused(make_card_values: Any, changes: Any, says: str) -> None:
    values = {**make_card_values(classes=CLASSES, activation="sigmoid", sha256="0" * 64), **changes}
    with pytest.raises(WeightsError, match=says):
        check_card(values, Path("card.json"))
