"""Drift is found where it is, named for what it is, and rarely elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungcls.drift.compare import compare
from lungcls.drift.reference import MIN_FILMS, FilmStatistics
from lungcls.errors import DataError

CLASSES = ("a", "b", "c")


def films(
    n: int, seed: int, shares: tuple[float, ...] = (0.4, 0.4, 0.2), brighter: float = 0.0, known: bool = True
) -> FilmStatistics:
    """Films whose tone and answers depend on their class."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=shares)
    scores = 2.5 * np.eye(3)[labels] + rng.normal(size=(n, 3))
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    numbers = {
        "grey_mean": 0.5 + 0.05 * labels + 0.1 * rng.normal(size=n) + brighter,
        "lung_area": 0.3 + 0.05 * rng.normal(size=n),
        "film_aspect": np.where(rng.random(n) < 0.1, np.nan, 1 + 0.1 * rng.normal(size=n)),
    }
    return FilmStatistics(CLASSES, chances, numbers, labels if known else None)


def test_the_kind_of_shift_is_told() -> None:
    reference = films(600, 0)
    same = compare(reference, films(150, 1, known=False))
    assert same.kind == "none"
    assert same.promised
    mixed = compare(reference, films(150, 2, (0.1, 0.2, 0.7), known=False))
    assert mixed.kind == "mix of classes"
    assert not mixed.promised
    shares = {row["class"]: row for row in mixed.prevalence}
    assert shares["c"]["low"] < 0.7 < shares["c"]["high"]
    other = compare(reference, films(150, 3, brighter=0.15, known=False))
    assert other.kind == "films"
    assert "grey_mean" in other.because
    assert not other.promised


@pytest.mark.slow
def test_alarms_are_as_rare_as_they_are_said_to_be() -> None:
    alarms = [compare(films(100, 2 * seed), films(40, 2 * seed + 1)).kind != "none" for seed in range(15)]
    assert (
        sum(alarms) <= 3
    )  # less than 1 expected: more than 3 of 15 come once in 180 times at a chance of 0.05


def test_few_films_are_not_judged() -> None:
    assert compare(films(200, 0), films(MIN_FILMS - 1, 1)).kind == "cannot tell"


def test_statistics_are_kept_in_a_file_and_damage_is_told(tmp_path: Path) -> None:
    made = films(50, 0)
    path = made.save(tmp_path / "mine.npz")
    read = FilmStatistics.load(path)
    assert read.classes == made.classes
    assert np.allclose(read.probabilities, made.probabilities, atol=1e-6)
    assert np.allclose(read.numbers["film_aspect"], made.numbers["film_aspect"], atol=1e-6, equal_nan=True)
    path.write_bytes(path.read_bytes()[:100])  # a copy cut short
    with pytest.raises(DataError, match="no reference statistics"):
        FilmStatistics.load(path)
    with pytest.raises(DataError, match="the classes a, b, c"):
        compare(made, FilmStatistics(("x", "y"), np.ones((50, 2)) / 2, {}))
