"""Films that are unlike those of the calibration are told, and what is not promised on them is marked."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lungcls.cli.main import app
from lungcls.drift.reference import MIN_FILMS
from lungcls.phantom import chest_phantom


def draw(folder: Path, first: int, gamma: float = 1.0, count: int = 32) -> Path:
    folder.mkdir()
    for seed in range(first, first + count):
        grey = chest_phantom(64, seed=seed).image ** gamma
        Image.fromarray(np.rint(grey * 255).astype(np.uint8)).save(folder / f"{seed}.png")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)


@pytest.fixture
def stages(tiny_segmenter: Path, tiny_classifier: Path, tmp_path: Path) -> list[object]:
    """Options of weights in a folder of the test's own, where a reference can stand beside them."""
    for path in (tiny_classifier, tiny_classifier.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    return [
        "--classifier", tmp_path / tiny_classifier.name, "--segmenter", tiny_segmenter, "--device", "cpu",
        "--gate", "none",  # which doubts films whose lungs an untrained network draws
    ]  # fmt: skip


def test_a_folder_of_other_films_is_told_and_marked(stages: list[object], tmp_path: Path) -> None:
    reference, other = draw(tmp_path / "a", 0), draw(tmp_path / "b", 100, gamma=3)
    file = tmp_path / "tiny-classifier.reference.npz"
    saved = run("drift", reference, "--save", file, *stages)
    assert saved.exit_code == 0, saved.output
    assert "32 films" in saved.output

    def predicted(folder: Path) -> tuple[Result, list[str], dict[str, object]]:
        out = tmp_path / f"out-{folder.name}"
        result = run("predict", folder, "-o", out, "--no-masks", "--no-overlays", *stages)
        with (out / "predictions.csv").open(newline="", encoding="utf-8") as table:
            marks = [row["promised"] for row in csv.DictReader(table)]
        content = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
        return result, marks, content["drift"]

    result, marks, drift = predicted(reference)
    assert "unlike" not in result.output
    assert set(marks) == {"yes"}
    assert drift["kind"] == "none"
    result, marks, drift = predicted(other)
    assert "These films are unlike those that tiny-classifier was calibrated on" in result.output
    assert set(marks) == {"no"}
    assert drift["promised"] is False

    compared = run("drift", file, other, "-o", tmp_path / "out", *stages)
    assert "The films are unlike the reference" in compared.output
    assert json.loads((tmp_path / "out" / "drift.json").read_text(encoding="utf-8"))["kind"] == "films"
    nothing = run("drift", reference, *stages)
    assert nothing.exit_code == 2
    assert "--save" in nothing.output
    missing = run("drift", "no-such-weights", other, *stages)
    assert missing.exit_code == 2
    assert "neither a folder nor statistics" in missing.output


def test_films_without_a_label_are_left_out_and_said(stages: list[object], tmp_path: Path) -> None:
    folder = draw(tmp_path / "a", 0, count=2)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    saved = run("drift", folder, "--save", tmp_path / "a.npz", *stages[:-2])
    assert saved.exit_code == 0, saved.output
    assert f"left out, as they get no label: 1 films of {folder}" in " ".join(saved.output.split())
    assert "2 films: " in saved.output


def test_few_films_and_no_reference_leave_answers_as_they_are(stages: list[object], tmp_path: Path) -> None:
    folder = draw(tmp_path / "few", 0, count=MIN_FILMS - 28)
    result = run("predict", folder, "-o", tmp_path / "out", "--no-masks", "--no-overlays", *stages)
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as table:
        assert [row["promised"] for row in csv.DictReader(table)] == ["", ""]
