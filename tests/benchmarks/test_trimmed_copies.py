"""The figures without films that have a trimmed copy in another part."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from lungcls.labels import CLASSES


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("trimmed_copies")


def _answer(file: str, label: str, said: str) -> dict[str, str]:
    shares = {name: "0.7" if name == said else "0.1" for name in CLASSES}
    return {"model": "m", "file": file, "label": label, "group": file, **shares}


def test_films_left_out_count_no_more(script: ModuleType) -> None:
    right = [_answer(f"{label}-{index}", label, label) for label in CLASSES for index in range(3)]
    wrong = _answer("copy", "COVID", "Normal")
    rows = {row["test films"]: row for row in script.figures([*right, wrong], {"copy", "in training"})}
    assert rows["all"]["value"] < 1
    assert rows["all"]["n"] == 13
    assert (rows["without them"]["value"], rows["without them"]["n"]) == (1.0, 12)
    assert (rows["only them"]["value"], rows["only them"]["n"]) == (0.0, 1)


def test_what_crosses_is_every_file_of_a_group_that_does(script: ModuleType) -> None:
    assert script.crossing({"across_parts": [{"files": ["a", "b"]}, {"files": ["c"]}]}) == {"a", "b", "c"}
