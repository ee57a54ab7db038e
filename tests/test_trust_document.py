"""What ``docs/trust.md`` says agrees with the result file that it names, and with the code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lungcls.prediction import HIGH, MODERATE

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def benchmark(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("trust")


def test_the_table_is_the_one_that_its_file_makes(benchmark: ModuleType) -> None:
    text = benchmark.DOCUMENT.read_text(encoding="utf-8")
    assert benchmark.with_table(text) == text


def test_the_tiers_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    assert f"| high | {HIGH} and more |" in text
    assert f"| moderate | {MODERATE} up to {HIGH} |" in text
    assert f"| low | below {MODERATE} |" in text
