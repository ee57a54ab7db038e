"""The scripts behind the tables of the ablation and of the shortcut suite."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

RESULTS = ("ablation", "ablation_quick", "shortcuts", "shortcuts_quick", "shortcuts_quick_validation")

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")
pytest.importorskip("pytorch_grad_cam")


@pytest.mark.parametrize("name", RESULTS)
def test_the_table_in_the_document_is_the_one_that_its_files_make(
    name: str, benchmark_script: Callable[[str], ModuleType]
) -> None:
    script = benchmark_script(name.split("_")[0])
    if not (script.RESULTS / f"{name}.json").is_file():
        pytest.skip(f"benchmarks/results/{name}.json has not been made yet")
    text = script.README.read_text(encoding="utf-8")
    assert f"<!-- {name}: written by" in text
    assert script.with_table(text, name) == text


@pytest.mark.parametrize("name", ["ablation_quick", "shortcuts_quick"])
def test_quick_writes_its_files_and_its_table(
    name: str,
    benchmark_script: Callable[[str], ModuleType],
    manifest_database: Path,
    tiny_segmenter: Path,
    tiny_classifier: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = benchmark_script(name.split("_")[0])
    readme = tmp_path / "README.md"
    command = script.__file__
    assert command is not None
    start = f"<!-- {name}: written by benchmarks/{name.split('_')[0]}.py -->"
    readme.write_text(f"before\n{start}\nSTALE\n<!-- end of {name} -->\nafter\n")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(script, "README", readme)
    options = ["--arms", "full,histogram", "--masks", "truth", "--workers", "0", "--limit", "12"]
    if name == "shortcuts_quick":
        options = ["--models", str(tiny_classifier), "--masks", "truth"]
    arguments = [command, "--data", str(manifest_database), "--work", str(tmp_path / "work"), "--quick"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--device", "cpu", *options])
    script.main()
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "STALE" not in text
    assert script.with_table(text, name) == text
    path = tmp_path / "results" / f"{name}.json"
    changed = json.loads(path.read_text())
    if name == "ablation_quick":
        changed["figures"][0]["value"] += 0.1
    else:
        changed["models"][0]["checks"][0]["because"] += " or not"
    path.write_text(json.dumps(changed))
    assert script.with_table(text, name) != text
