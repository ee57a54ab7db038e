"""An audit of a model, its checks, and an audit of the predictions that it wrote say the same figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lungcls.cli.main import app
from lungcls.data import RadiographyDatabase
from lungcls.data.views import drawn_lungs
from lungcls.phantom import chest_phantom
from lungcls.shortcuts.check import CHECKS, Audit
from lungcls.shortcuts.sample import Trial
from lungcls.shortcuts.subject import load_subject
from lungcls.study.study import Study

CLASSES = ("Normal", "Viral Pneumonia")
ASKED = {
    "processing": "gap_processing",
    "same_source_pairs": "same_source",
    "skew_reversal": "skew",
    "dependence": "dependence",
}
"""Questions of predictions by the check that asks the same."""

ADAPTER = """
import numpy as np
from lungcls.regions import Region

class Model:
    name, region, classes, input_size = "mine", Region("full"), ("Normal", "Viral Pneumonia"), 32

    def features(self, views):
        rng = np.random.default_rng(0)
        return (views.reshape(len(views), -1) / 255.0 @ rng.normal(size=(1024, 12))).astype(np.float32)

    def logits(self, views):
        bright = views.reshape(len(views), -1).mean(axis=1) / 255.0
        return np.stack([40 * (0.5 - bright), 40 * (bright - 0.5)], axis=1).astype(np.float32)

    def cams(self, views, targets):
        return np.ones((len(views), 2, 2), np.float32)

    def untrained(self):
        return self

def adapter():
    return Model()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films whose brightness tells something of the class, and something of the source."""
    root = tmp_path_factory.mktemp("roads")
    (root / "mine.py").write_text(ADAPTER, encoding="utf-8")
    rows = []
    for number in range(112):
        rng = np.random.default_rng(number)
        label, source = number % 2, int(rng.random() < (0.35, 0.65)[number % 2])
        film = chest_phantom(48, seed=number, letter=None)
        middle = 0.5 + 0.05 * (2 * label - 1) + 0.03 * (2 * source - 1) + rng.normal(0, 0.04)
        file = f"{CLASSES[label]}/images/{number}.png"
        for path, pixels in (
            (file, film.image - film.image.mean() + middle),
            (file.replace("images", "masks"), film.mask),
        ):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255.0).astype(np.uint8)).save(root / path)
        rows.append(
            {
                "file": file,
                "label": CLASSES[label],
                "mask": file.replace("images", "masks"),
                "group": f"g{number // 2 % 45}",
                "source": ("rsna", "kermany")[source],
                "processing": ("ab" if source else "cd")[int(rng.random() < 0.5)],
            }
        )
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file_:
        writer = csv.DictWriter(file_, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="module")
def by_model(folder: Path) -> dict[str, Any]:
    """The audit of the model."""
    arguments = ["--data", str(folder), "--layout", "radiography", "--part", "all", "--masks", "truth"]
    return run(folder, "model", [f"{folder / 'mine.py'}:adapter", *arguments, "--checks", "3,L,N,processing"])


def run(folder: Path, name: str, arguments: list[str]) -> dict[str, Any]:
    pytest.importorskip("matplotlib", reason="matplotlib (the extra plots) is not installed")
    out = folder / name
    result = CliRunner().invoke(app, ["audit", *arguments, "--resamples", "50", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert ("mine: answers to 112 films, " in result.stderr) == (name == "model")
    payload = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert payload["images"] is None  # what answers tell is asked of them, and only there
    return {finding["name"]: finding for finding in payload["predictions"]["findings"]}


def assert_alike(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert len(one) == len(other) > 0
    for row, twin in zip(one, other):
        assert row.keys() == twin.keys()
        for key, value in row.items():
            assert twin[key] == (pytest.approx(value, abs=1e-5) if isinstance(value, float) else value)


def test_a_model_and_its_predictions_have_the_same_figures(folder: Path, by_model: dict[str, Any]) -> None:
    out = folder / "model"
    again = run(folder, "again", [str(out / "predictions.csv"), "--features", str(out / "features.npy")])
    for name in ASKED.values():
        assert again[name]["verdict"] == by_model[name]["verdict"]
        assert_alike(by_model[name]["figures"], again[name]["figures"])


def test_a_check_and_the_question_that_it_asks_have_the_same_figures(
    folder: Path, by_model: dict[str, Any]
) -> None:
    database = RadiographyDatabase(folder)
    lungs = drawn_lungs(database, database.records)
    subject = load_subject(f"{folder / 'mine.py'}:adapter")
    trial = Trial.open(subject, Study(database, database.records, lungs, n_resamples=50))
    for check, question in ASKED.items():
        found = CHECKS[check].run(trial, Audit())
        # Checks 8 and 3 put macro-F1 and a pair that crosses sources beside what both ask.
        mine = [row for row in found.rows if row.get("class") != "" and row.get("source") != ""]
        assert_alike(mine, by_model[question]["figures"])
        assert found.verdict == by_model[question]["verdict"]
