"""The proof of the suite: worlds with planted shortcuts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def test_the_table_in_the_document_is_the_one_that_its_files_make(
    benchmark_script: Callable[[str], ModuleType],
) -> None:
    judge = benchmark_script("judge")
    found = json.loads((judge.RESULTS / "judge_phantoms.json").read_text(encoding="utf-8"))
    assert judge.table(found) in judge.README.read_text(encoding="utf-8")


def test_every_kind_changes_the_film_or_its_mask(benchmark_script: Callable[[str], ModuleType]) -> None:
    judge = benchmark_script("judge")
    chests = judge.phantom_chests(2)
    for name, kind in judge.KINDS.items():
        film = {"number": 1, "disease": 1, "planted": False}
        plain = judge.picture(kind, film, chests, 0)
        painted = judge.picture(kind, {**film, "planted": True}, chests, 0)
        changed = np.abs(plain[0] - painted[0]).max() > 0.02 or (plain[1] != painted[1]).any()
        assert changed, name


@pytest.mark.parametrize(("strength", "agreeing"), [(0.0, 0.5), (0.6, 0.8), (1.0, 1.0)])
def test_a_strength_is_the_share_of_films_that_agree(
    strength: float, agreeing: float, benchmark_script: Callable[[str], ModuleType]
) -> None:
    judge = benchmark_script("judge")
    plan = judge.plan_of(judge.KINDS["marker"], strength, np.random.default_rng(0))
    share = np.mean([film["planted"] == bool(film["disease"]) for film in plan])
    assert share == pytest.approx(agreeing, abs=0.05)
    assert {film["label"] == film["disease"] for film in plan} == {True}


def test_mislabelled_films_are_of_one_source(benchmark_script: Callable[[str], ModuleType]) -> None:
    judge = benchmark_script("judge")
    plan = judge.plan_of(judge.KINDS["label noise by source"], 0.8, np.random.default_rng(0))
    wrong = [film for film in plan if film["label"] != film["disease"]]
    assert wrong
    assert all(film["label"] == film["source"] for film in wrong)


@pytest.mark.slow
def test_a_strong_marker_is_found_and_its_world_kept(
    tmp_path: Path, benchmark_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = benchmark_script("judge")
    words = ["judge.py", "--work", str(tmp_path), "--kinds", "marker", "--strengths", "1", "--seeds", "0"]
    monkeypatch.setattr(sys, "argv", [*words, "--part", "0", "2"])
    judge.main()
    (kept,) = (tmp_path / "judge_phantoms").iterdir()
    result = json.loads(kept.read_text())
    assert result["reliance"] > 0.5
    assert "lungs_blanked" in result["failed"]
