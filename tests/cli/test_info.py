from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lungcls
from lungcls.cli.main import app
from lungcls.labels import NOTICE
from lungcls.recipes import recipe_names


def released(folder: Path, name: str, weights: str, **changes: Any) -> None:
    """Copy a weight file and its card, with changes to the card."""
    shutil.copy(weights, folder / f"{name}.safetensors")
    card = json.loads(Path(weights).with_suffix(".json").read_text())
    (folder / f"{name}.json").write_text(json.dumps({**card, "name": name, **changes}))


@pytest.fixture
def release(weights: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the released weights."""
    dice = {
        "validation": {"n_images": 9, "overall": {"dice_mean": {"value": 0.5, "low": None, "high": None}}}
    }
    f1 = {"validation": {"overall": {"macro_f1": {"value": 0.75, "low": 0.7, "high": 0.8}}}}
    data = {"split_hash": "0123abcd"}
    released(tmp_path, "segmenter", weights["segmenter"], metrics=dice, training_data=data)
    released(tmp_path, "classifier-mask", weights["mask"], metrics=f1, training_data=data)
    released(tmp_path, "classifier-full", weights["mask"], region={"name": "full"}, training_data=data)
    monkeypatch.setattr("lungcls.weights._release_folder", lambda: tmp_path)
    return tmp_path


def info(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["info", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


@pytest.mark.usefixtures("release")
def test_everything_at_a_glance() -> None:
    text = info()
    assert f"lungcls                      {lungcls.__version__}" in text
    assert "classifier-mask    classification, region mask: densenet121, 32 px" in text
    assert "macro_f1 on validation 0.7500 [0.7000, 0.8000]; split 0123abcd" in text
    assert "dice_mean on validation 0.5000;" in text
    assert "macro_f1 on validation not measured" in text
    assert all(name in text for name in recipe_names())
    assert "Device" not in text
    assert text.endswith(f"{NOTICE}\n")


def test_json(release: Path) -> None:
    found = json.loads(info("--json"))
    assert found["notice"] == NOTICE
    assert found["versions"]["lungcls"] == lungcls.__version__
    by_name = {row["name"]: row for row in found["weights"]}
    assert sorted(by_name) == ["classifier-full", "classifier-mask", "segmenter"]
    row = by_name["classifier-full"]
    assert (row["region"], row["input_size"], row["split_hash"]) == ("full", 32, "0123abcd")
    assert row["bytes"] == (release / "classifier-full.safetensors").stat().st_size
    # DenseNet121 has 6,953,856 parameters with three input channels and no head (Huang 2017, torchvision).
    assert row["parameters"] == 6_953_856 - 2 * 64 * 49 + 4 * 1024 + 4


def test_devices_are_asked_for_only_on_demand() -> None:
    assert "devices" not in json.loads(info("--json"))
    assert json.loads(info("--json", "--devices"))["devices"][0]["name"] == "cpu"
    assert "Device cpu" in info("--devices")


@pytest.mark.usefixtures("release")
def test_one_card() -> None:
    text = info("classifier-mask")
    for line in (
        "temperature",
        "sha256",
        "input_size",
        "classes",
        "macro_f1  0.7500 [0.7000, 0.8000]",
        NOTICE,
    ):
        assert line in text
    card = json.loads(info("segmenter", "--json"))
    assert card["task"] == "segmentation"
    assert card["metrics"]["validation"]["n_images"] == 9


def test_the_gates_figures_are_shown() -> None:
    text = info("gate")
    assert "Metrics, validation\n" in text
    assert "films_accepted " in text
    assert "films_turned_and_inverted: inverted " in text
    assert "?" not in text


def test_card_by_path(weights: dict[str, str]) -> None:
    assert weights["mask"] in info(weights["mask"])


def test_unknown_name(release: Path) -> None:
    text = info("nobody", code=2)
    assert "nobody: no such weight file" in text
    assert "segmenter" in text


def test_damaged_card_is_told_and_the_rest_shown(release: Path) -> None:
    (release / "segmenter.json").write_text("{")
    text = info(code=1)
    assert "damaged" in text
    assert "classifier-mask    classification" in text


def test_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lungcls.weights._release_folder", lambda: tmp_path)
    assert "none are installed" in info()


def test_models() -> None:
    rows = json.loads(info("--models", "--json"))
    by_name = {row["name"]: row for row in rows}
    assert by_name["cnn-4conv"] == {"name": "cnn-4conv", "input": [3, 299, 299], "parameters": 17_166_916}
    assert by_name["mobilenet-v2"]["parameters"] == 2_228_996
    text = info("--models")
    assert all(name in text for name in by_name)
    assert "422,177" in text


def test_the_layers_of_one_model() -> None:
    layers = json.loads(info("cnn-strided", "--models", "--json"))
    assert sum(layer["parameters"] for layer in layers) == 422_177
    assert "1568" in info("cnn-strided", "--models")
    assert "unknown model 'cnn-9'; the models are cnn-4conv" in info("cnn-9", "--models", code=2)
