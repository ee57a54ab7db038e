"""A short fuzz of everything that reads; `python scripts/fuzz.py` is the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz.py"


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the tests run without the checkout: there are no scripts")
@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded with /proc and RLIMIT_AS")
def test_damaged_input_gives_an_answer_or_an_error_of_lungcls(tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="the forms of the web service are read, too")
    out = tmp_path / "fuzz.json"
    command = [sys.executable, str(SCRIPT), "--cases", "1000", "--seed", "20261128", "-o", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    targets = json.loads(out.read_text(encoding="utf-8"))["seeded"]["targets"]
    assert {name: one["failures"] for name, one in targets.items() if one["failures"]} == {}
    assert run.returncode == 0
    assert sum(one["cases"] for one in targets.values()) == 1000
    assert all(one["answered"] and one.get("refused", 1) for one in targets.values())
