"""The parts of the speed benchmark; the whole of it is slow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_rounds_become_a_row(benchmark_script: Callable[[str], ModuleType]) -> None:
    speed = benchmark_script("speed")
    one = {"images": 4, "seconds": 2.0, "cpu_seconds": 3.0, "gaps": [0.1, 0.1, 0.1, 1.7]}
    two = {"images": 4, "seconds": 1.0, "cpu_seconds": 1.0, "gaps": [0.1, 0.3, 0.3, 0.3]}
    answers = {("files", 1): [one, two], ("files", 32): [two], ("arrays", 1): []}
    row = speed.table_row({"name": "x", "precision": "bf16"}, answers, 8.0)
    assert row["images/s files 1"] == 3
    assert row["cpu ms files 1"] == 500
    assert row["p50 ms"] == pytest.approx(1e3 * np.median(one["gaps"] + two["gaps"]))
    assert row["share of bound"] == 0.5
    assert "images/s arrays 1" not in row


def test_macro_f1_is_the_mean_over_classes(benchmark_script: Callable[[str], ModuleType]) -> None:
    speed = benchmark_script("speed")
    assert speed.macro_f1(list("aab"), list("abb")) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_times_are_taken_between_answers(benchmark_script: Callable[[str], ModuleType]) -> None:
    worker = benchmark_script("speed_worker")
    found = worker.timed(iter(range(3)))
    assert found["images"] == len(found["gaps"]) == 3
    assert found["seconds"] == pytest.approx(sum(found["gaps"]))
    assert 10 < worker.memory() <= worker.peak() * 1.01


def test_operations_are_those_of_the_released_stages(benchmark_script: Callable[[str], ModuleType]) -> None:
    counts = benchmark_script("speed_worker").operations()
    assert set(counts) == {"segmenter", "classifier-mask"}
    assert all(1e7 < count < 1e11 for count in counts.values())


@pytest.mark.slow
def test_a_worker_answers_in_its_own_process(benchmark_script: Callable[[str], ModuleType]) -> None:
    speed = benchmark_script("speed")
    worker = speed.Worker({"name": "machine", "kind": "machine"})
    try:
        assert worker.ask("rate", precision="fp32", seconds=0.01)["rate"] > 1e8
    finally:
        worker.close()


@pytest.mark.slow
def test_the_whole_table(real_data: Path) -> None:
    command = [sys.executable, FOLDER / "speed.py", "--quick", "--data", real_data]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")]
    assert {"(a) naive pair, torch fp32", "lungcls, torch fp32", "lungcls, openvino bf16"} <= set(lines)
    assert "peak" in done.stdout


def test_results_can_be_written(benchmark_script: Callable[[str], ModuleType]) -> None:
    speed = benchmark_script("speed")
    rounds = {"x": {("files", 1): [{"images": 1, "seconds": 1.0, "cpu_seconds": 1.0, "gaps": [1.0]}]}}
    assert json.loads(json.dumps(speed.answers_to_plain(rounds))) == {
        "x": {"files 1": [{"images": 1, "seconds": 1.0, "cpu_seconds": 1.0}]}
    }
