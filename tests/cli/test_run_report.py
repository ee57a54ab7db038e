"""``--report`` of every command, and completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lungcls
from lungcls.cli.main import app
from lungcls.weights import load_card


def report(path: Path, *words: object) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, [*map(str, words), "--report", str(path)])
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return done.exit_code, content


def test_a_run_says_what_it_did(tmp_path: Path, manifest_database: Path) -> None:
    out = tmp_path / "split.csv"
    code, found = report(tmp_path / "run.json", "data", "split", "--data", manifest_database, "-o", out)
    assert (code, found["exit_code"], found["error"]) == (0, 0, None)
    assert found["command"] == "data split"
    assert found["options"]["data"] == str(manifest_database)
    assert found["versions"]["lungcls"] == lungcls.__version__
    assert found["seconds"] >= 0


def test_written_files_and_weights_are_named(tmp_path: Path, draw: Any, tiny_segmenter: Path) -> None:
    film, out = draw(tmp_path / "a.png"), tmp_path / "out"
    words = ("segment", film, "--segmenter", tiny_segmenter, "-o", out, "--device", "cpu")
    _, found = report(tmp_path / "run.json", *words)
    assert "segments.csv" in found["written"]["names"]
    assert found["written"]["files"] == sum(one.is_file() for one in out.rglob("*"))
    assert found["weights"]["tiny-segmenter"] == load_card(tiny_segmenter).sha256


def test_a_failure_is_reported_with_its_words(tmp_path: Path) -> None:
    code, found = report(tmp_path / "run.json", "paper", tmp_path / "nothing", "-o", tmp_path / "out")
    assert (code, found["exit_code"]) == (2, 2)
    assert "no folder, no result and no weights" in found["error"]


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["info", "--report", str(tmp_path)])
    assert done.exit_code == 2
    assert "which is a folder" in done.output


@pytest.mark.parametrize(
    ("words", "wanted"), [("lungcls pap", "paper"), ("lungcls evaluate --rep", "--report")]
)
def test_a_shell_completes_commands_and_their_options(words: str, wanted: str) -> None:
    code = "import sys; sys.argv[0] = 'lungcls'; from lungcls.cli.main import main; main()"
    place = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    path = os.pathsep.join([str(Path(lungcls.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **place, "PYTHONPATH": path, "_LUNGCLS_COMPLETE": "complete_bash"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert wanted in done.stdout.split(), done.stderr
