from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lungcls.errors import DataError
from lungcls.reports.text import estimate, model_rows, model_values, pair_rows, pair_values, probability
from lungcls.study.answers import Answers, ensemble
from lungcls.study.compare import compare

CLASSES = ("COVID", "Normal", "Viral Pneumonia")


def answers(name: str, seed: int, right: float = 0.8, n: int = 60) -> Answers:
    """Answers that are right so often, two images a group; the last class has no image."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    said = np.where(rng.random(n) < right, labels, (labels + 1) % 3)
    probabilities = 0.1 + 0.7 * np.eye(3)[said]
    files = tuple(f"{index}.png" for index in range(n))
    groups = tuple(f"g{index // 2}" for index in range(n))
    about = {"parameters": 10, "bytes": 20, "latency_ms": 1.5, "network": "net", "region": "full"}
    return Answers(name, CLASSES, files, groups, labels, np.log(probabilities), about=about)


def test_rows_of_answers() -> None:
    row = answers("one", 0).to_rows()[1]
    assert list(row) == ["model", "file", "group", "label", "predicted", *CLASSES]
    assert row["label"] == "Normal"
    assert sum(row[name] for name in CLASSES) == pytest.approx(1)


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    one, two = answers("one", 0), answers("two", 1)
    both = ensemble([one, two])
    np.testing.assert_allclose(both.probabilities, (one.probabilities + two.probabilities) / 2)
    assert both.about["parameters"] == 20
    assert both.about["network"] == "one + two"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": ("x.png",) * 60}, "answered different images"),
        ({"labels": np.zeros(60, np.int64)}, "answered different images"),
        ({"classes": ("COVID", "Normal", "Other")}, "compared on the same classes"),
    ],
)
def test_models_are_compared_on_the_same_images(change: dict[str, Any], message: str) -> None:
    one = answers("one", 0)
    with pytest.raises(DataError, match=message):
        ensemble([one, replace(answers("two", 1), **change)])


def test_a_comparison_by_hand() -> None:
    good, bad = answers("good", 0, right=1.0), answers("bad", 1, right=0.5)
    found = compare({"good": [good], "bad": [bad]}, n_resamples=200)
    first, second = model_values(found)
    assert first["accuracy"] == 1.0
    share = float((bad.predicted == bad.labels).mean())
    assert second["accuracy"] == pytest.approx(share)
    assert second["accuracy_low"] < share < second["accuracy_high"]
    # The class without an image has no F1 and does not count in the mean.
    assert first["f1 Viral Pneumonia"] is None
    assert first["macro_f1"] == 1.0
    (pair,) = pair_values(found)
    assert pair["accuracy_difference"] == pytest.approx(share - 1)
    assert pair["accuracy_difference_high"] < 0
    assert (pair["only_first"], pair["only_second"]) == (round(60 * (1 - share)), 0)
    # Two images a group: each group that differs, by one image or by two, may have gone either way.
    differing = {group for group, right in zip(bad.groups, bad.right) if not right}
    assert pair["p"] == pytest.approx(2 * 0.5 ** len(differing))
    assert pair["p_holm"] == pair["p"]


def test_several_runs_of_a_model_are_averaged() -> None:
    runs = [answers("one", seed, right=0.7) for seed in (3, 4, 5)]
    found = model_values(compare({"one": runs}, n_resamples=50))[0]
    shares = [float((run.predicted == run.labels).mean()) for run in runs]
    assert found["runs"] == 3
    assert found["accuracy"] == pytest.approx(np.mean(shares))
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]


def test_tables_for_people() -> None:
    found = compare({"good": [answers("good", 0, 1.0)], "bad": [answers("bad", 1, 0.5)]}, n_resamples=50)
    row = model_rows(found)[0]
    assert row["accuracy"] == "1.000 [1.000, 1.000]"
    assert row["parameters"] == "10"
    assert pair_rows(found)[0]["McNemar p"] == "<0.0001"
    assert probability(0.5) == "0.5000"
    assert estimate({"x": None}, "x") == "-"
    assert estimate({"x": 0.5, "x_low": None, "x_high": None}, "x") == "0.500"
