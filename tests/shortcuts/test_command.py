"""The commands as a user types them, on phantoms."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lungcls.cli.main import app
from lungcls.data import RadiographyDatabase, Split
from lungcls.shortcuts.check import choose_checks

pytest.importorskip("pytorch_grad_cam")
pytest.importorskip("matplotlib")
pytest.importorskip("lightning")

World = tuple[RadiographyDatabase, Split]

ADAPTER = """
import torch
from torch import nn
from lungcls.labels import CLASSES
from lungcls.shortcuts import ModuleSubject

def adapter():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)]
    return ModuleSubject(nn.Sequential(*layers), CLASSES, 24, name="mine")
"""

RECIPE = """
name = "tiny"
task = "classification"
input_size = 32
loss = "cross_entropy"
augmentation = "none"
batch_size = 32
learning_rate = 5e-3
stages = [{ size = 32, epochs = 1 }]
[model]
model = "densenet"
growth = 4
blocks = [1, 1, 1, 1]
stem = 8
[region]
name = "full"
"""


def test_shortcuts_writes_json_csv_and_a_page(honest_world: World, tmp_path: Path) -> None:
    database, split = honest_world
    (tmp_path / "mine.py").write_text(ADAPTER)
    split.write_csv(tmp_path / "split.csv")
    out = tmp_path / "out"
    command = [
        "shortcuts",
        f"{tmp_path / 'mine.py'}:adapter",
        "--data",
        str(database.root),
        "--out",
        str(out),
        "--split",
        str(tmp_path / "split.csv"),
        "--masks",
        "truth",
        "--limit",
        "12",
        "--resamples",
        "20",
        "--per-pair",
        "2",
        "--films-per-change",
        "24",
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (found,) = json.loads((out / "shortcuts.json").read_text())["models"]
    assert set(found["verdicts"]) == {check.name for check in choose_checks()}
    assert set(found["verdicts"].values()) <= {"pass", "fail", "cannot tell", "not applicable"}
    assert (found["images"], found["split_hash"], found["part"]) == (48, split.hash, "test")
    assert found["seconds"] > 0
    stored = Path(__file__).parents[2] / "benchmarks" / "results" / "shortcuts_quick.json"
    if stored.is_file():
        # What the benchmark's table is made of stays.
        assert set(json.loads(stored.read_text())["models"][0]) <= set(found)
    with (out / "shortcuts.csv").open() as file:
        assert {row["model"] for row in csv.DictReader(file)} == {"mine"}
    because = {check["name"]: check["because"] for check in found["checks"]}
    assert because["robustness"].endswith("; asked on 24 of 48 films, drawn by class")
    assert "asked on" not in because["lungs_blanked"]
    (changed,) = {row["n"] for check in found["checks"] for row in check["figures"] if row.get("change")}
    assert changed == 24
    page = (out / "shortcuts.html").read_text()
    assert page.count("data:image/png;base64,") > 10
    assert "http://" not in page
    assert "https://" not in page
    assert "cannot tell" in page
    for check in found["checks"]:
        assert check["because"] in result.output


@pytest.mark.slow
def test_trained_checks_train_once(cheating_world: World, tmp_path: Path) -> None:
    database, split = cheating_world
    (tmp_path / "mine.py").write_text(ADAPTER)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    split = Split(
        # A validation part out of the training images.
        {
            file: "validation" if part == "train" and file.endswith(("4.png", "5.png")) else part
            for file, part in split.parts.items()
        },
        split.groups,
    )
    split.write_csv(tmp_path / "split.csv")
    out = tmp_path / "out"
    command = [
        "shortcuts",
        f"{tmp_path / 'mine.py'}:adapter",
        "--data",
        str(database.root),
        "--out",
        str(out),
        "--split",
        str(tmp_path / "split.csv"),
        "--masks",
        "truth",
        "--resamples",
        "20",
        "--checks",
        "4,5,8",
        "--train-checks",
        "--recipe",
        str(tmp_path / "tiny.toml"),
        "--device",
        "cpu",
        "--workers",
        "0",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (found,) = json.loads((out / "shortcuts.json").read_text())["models"]
    names = {check["name"]: check for check in found["checks"]}
    assert {
        "leave_one_source_out",
        "leakage",
        "leakage_trained",
        "processing",
        "label_shuffle",
        "processing_trained",
    } == set(names)
    left_out = {(row["class"], row["source"]) for row in names["leave_one_source_out"]["figures"]}
    assert len(left_out) == 8
    runs = out / "trainings" / "full"
    weights = {path: path.stat().st_mtime_ns for path in runs.glob("*/*.safetensors")}
    assert len(weights) == 8 + 4
    assert not list(runs.glob("*/checkpoints"))
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in runs.glob("*/*.safetensors")} == weights


@pytest.mark.parametrize(
    ("more", "message"),
    [(["--checks", "tea"], "unknown checks tea"), (["--masks", "drawn"], "expected one of predicted, truth")],
)
def test_wrong_options_are_named(more: list[str], message: str, honest_world: World, tmp_path: Path) -> None:
    database, _ = honest_world
    (tmp_path / "mine.py").write_text(ADAPTER)
    command = [
        "shortcuts",
        f"{tmp_path / 'mine.py'}:adapter",
        "--data",
        str(database.root),
        "--out",
        str(tmp_path),
        "--masks",
        "truth",
        *more,
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code != 0
    assert message in result.stderr
