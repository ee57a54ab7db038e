"""Net benefit by hand, and the curves of a classifier that knows everything or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from lungcls.paper.decision_curve import decision_curves, net_benefit
from lungcls.study.answers import Answers


def test_net_benefit_is_that_of_the_definition() -> None:
    positive = np.array([True, True, False, False, False])
    probabilities = np.array([0.9, 0.3, 0.6, 0.2, 0.1])
    # At 0.25: two true and one false positive of five, odds 1/3. At 0.5: one and one, odds 1.
    found = net_benefit(positive, probabilities, np.array([0.25, 0.5]))
    assert found == pytest.approx(np.array([[2 / 5 - 1 / 5 / 3, 0.0]]))
    twice = net_benefit(positive, probabilities, np.array([0.25]), np.array([[2.0, 1, 1, 1, 0]]))
    assert twice == pytest.approx(np.array([[3 / 5 - 1 / 5 / 3]]))


def test_a_perfect_classifier_is_worth_the_share_of_the_class_and_a_blind_one_no_more_than_all() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1])
    files = tuple("abcdef")
    perfect = Answers("m", ("x", "y"), files, files, labels, 50.0 * np.eye(2)[labels])
    for curve, share in zip(decision_curves(perfect, 20), (1 / 3, 2 / 3)):
        assert curve.prevalence == pytest.approx(share)
        assert [one.value for one in curve.benefit] == pytest.approx([share] * 99)
    blind = Answers("m", ("x", "y"), files, files, labels, np.zeros((6, 2)))
    for curve in decision_curves(blind, 20):
        acts = curve.thresholds <= 0.5
        values = np.array([one.value for one in curve.benefit])
        assert values[acts] == pytest.approx(curve.treat_all[acts])
        assert values[~acts] == pytest.approx(0)
