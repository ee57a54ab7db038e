"""Sample sizes against the worked example of Riley et al. (2021), and intervals against their definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from lungcls.paper.sample_size import (
    WIDTHS,
    requirements,
    standard_error_of_c,
    standard_error_of_ratio,
    standard_error_of_slope,
)
from lungcls.study.answers import Answers

PREVALENCE = 0.018
"""Of the failure of heart valves, the example of the paper: c-statistic 0.8, log odds N(-5, 2.5)."""


def test_the_published_example() -> None:
    def ratio(n: float) -> float:
        error = 1.96 * standard_error_of_ratio(n, PREVALENCE)
        return math.exp(error) - math.exp(-error) - 1

    assert brentq(ratio, 10, 1e6) == pytest.approx(905, abs=1)
    assert brentq(lambda n: 3.92 * standard_error_of_c(n, PREVALENCE, 0.8) - 0.1, 10, 1e6) == pytest.approx(
        4252, abs=1
    )
    log_odds = np.random.default_rng(1).normal(-5, 2.5, 1_000_000)
    found = brentq(lambda n: 3.92 * standard_error_of_slope(n, log_odds) - 0.2, 10, 1e6)
    assert found == pytest.approx(4544, rel=0.01)


def test_the_films_that_are_needed_give_the_width_that_was_asked_for() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(3, size=300)
    logits = draw.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
    names = tuple(str(number) for number in range(300))
    answers = Answers("m", ("a", "b", "c"), names, names, labels, logits)
    found = requirements(answers, {"a": 0.9, "b": 0.9, "c": 0.9})
    assert {(one.name, one.figure) for one in found} == {
        (name, figure) for name in "abc" for figure in WIDTHS
    }
    for one in found:
        assert one.needed is not None
        assert one.width_now is not None
        assert (one.needed > 300) == (one.width_now > one.width)


def test_a_class_that_no_film_has_needs_none() -> None:
    answers = Answers("m", ("a", "b"), ("1", "2"), ("1", "2"), np.zeros(2, np.int64), np.zeros((2, 2)))
    assert requirements(answers, {}) == []
