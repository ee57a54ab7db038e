"""The verdicts follow the rules, and the document states every one of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lungcls.evaluation.bootstrap import Estimate, exact_share
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import joined


@pytest.mark.parametrize(
    ("low", "high", "most", "least"),
    [
        (0.1, 0.4, "pass", "fail"),
        (0.6, 0.9, "fail", "pass"),
        (0.4, 0.6, "cannot tell", "cannot tell"),
        (math.nan, math.nan, "cannot tell", "cannot tell"),
    ],
)
def test_only_a_whole_interval_decides(low: float, high: float, most: str, least: str) -> None:
    figure = Estimate((low + high) / 2, low, high)
    assert rules.at_most(figure, 0.5) == most
    assert rules.at_least(figure, 0.5) == least


def test_a_share_of_none_is_no_surer_than_its_sample() -> None:
    # Clopper and Pearson by hand: the upper end of 0 of n is 1 - 0.025 ** (1 / n).
    few, many = (exact_share(Estimate(0.0, 0.0, 0.0), n) for n in (13, 1500))
    assert few.high == pytest.approx(1 - 0.025 ** (1 / 13))
    assert (rules.at_most(few, 0.01), rules.at_most(many, 0.01)) == ("cannot tell", "pass")
    whole = exact_share(Estimate(1.0, 1.0, 1.0), 25)
    assert (whole.low, whole.high) == (pytest.approx(0.025 ** (1 / 25)), 1.0)
    some = Estimate(0.5, 0.4, 0.6)
    assert exact_share(some, 25) is some


def test_one_failure_fails_and_only_all_passes_pass() -> None:
    assert joined(["pass", "fail", "cannot tell"]) == "fail"
    assert joined(["pass", "cannot tell"]) == "cannot tell"
    assert joined(["pass", "pass"]) == "pass"
    assert joined([]) == "cannot tell"
    assert joined(["pass", "not applicable"]) == "pass"
    assert joined(["not applicable"]) == "not applicable"


def test_one_of_many_figures_fails_only_after_correction() -> None:
    good, just = Estimate(0.01, 0.0, 0.02), Estimate(0.09, 0.055, 0.125)
    assert rules.at_most(just, 0.05) == rules.all_at_most([just], 0.05) == "fail"
    assert rules.all_at_most([just, *[good] * 16], 0.05) == "cannot tell"
    assert rules.all_at_most([Estimate(0.3, 0.25, 0.35), *[good] * 16], 0.05) == "fail"
    assert rules.all_at_most([good] * 17, 0.05) == "pass"
    assert rules.all_at_least([Estimate(0.9, 0.8, 1.0), Estimate(0.3, 0.2, 0.4)], 0.67) == "fail"
    assert rules.all_at_least([Estimate(0.9, 0.8, 1.0)], 0.67) == "pass"


def test_a_small_sample_says_what_would_decide() -> None:
    # The interval must become half as wide: four times the images.
    figure = Estimate(0.65, 0.55, 0.75)
    assert rules.deciding_size(figure, 0.7, 100) == 400
    assert "about 400 images would decide, here are 100" in rules.size_words(figure, 0.7, 100)
    assert rules.size_words(Estimate(0.65, 0.62, 0.68), 0.7, 100) == ""
    assert rules.deciding_size(Estimate(0.6999, 0.5, 0.9), 0.7, 100) is None
    assert "no usual number" in rules.size_words(Estimate(0.6999, 0.5, 0.9), 0.7, 100)


def test_the_document_states_every_limit() -> None:
    document = Path(__file__).parents[2] / "docs" / "shortcuts.md"
    if not document.is_file():
        pytest.skip("the documents are not installed with the package")
    text = document.read_text(encoding="utf-8")
    limits = {name: value for name, value in vars(rules).items() if name.isupper() and name[0] != "_"}
    for name, value in limits.items():
        if isinstance(value, (int, float)):
            stated = {2 / 3: "2/3", 1 / 2: "1/2"}.get(value, f"{value:g}")
            assert f"`{name}` | {stated} |" in text, name
