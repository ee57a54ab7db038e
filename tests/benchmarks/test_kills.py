"""Killed commands, run again, give what the unbroken run gives: a few moments of ``benchmarks/kills.py``."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="the small networks are those of the benchmark of scale")
pytest.importorskip("onnxscript", reason="their graphs are written")


def test_a_value_that_differs_and_half_a_file_are_found(
    benchmark_script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    kills: Any = benchmark_script("kills")
    (tmp_path / "a.json").write_text('{"one": [1, 2], "two": "x"}')
    (tmp_path / "b.csv").write_text("c,d\n1,2\n")
    before = kills.content(tmp_path)
    assert kills.broken(tmp_path) == []
    (tmp_path / "a.json").write_text('{"one": [1, 3], "two": "x"}')
    assert kills.unlike(before, kills.content(tmp_path)) == {"a.json#.one.1"}
    (tmp_path / "a.json").write_text('{"one": [1, 3')
    (tmp_path / "b.csv").write_text("c,d\n1,")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / ".d.json.0123456789abcdef.part").write_bytes(b"{")
    assert len(kills.broken(tmp_path)) == 3
    assert kills.partial(tmp_path) == [".d.json.0123456789abcdef.part"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["split", "predict", "calibrate"])
def test_a_killed_command_ends_as_the_unbroken_one(
    name: str, benchmark_script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    kills: Any = benchmark_script("kills")
    names = kills.prepare(tmp_path)
    choice = random.Random(name)
    whole = kills.unbroken(name, names, tmp_path)
    assert kills.killed(name, names, tmp_path, whole, 4, choice)["faults"] == []
    if kills.may_mount(tmp_path):
        assert kills.full(name, names, tmp_path, whole, 2, choice)["faults"] == []
