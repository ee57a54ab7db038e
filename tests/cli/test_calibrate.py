"""``lungcls calibrate``, and what its card changes in ``evaluate`` and ``predict``."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from typer.testing import CliRunner, Result

from lungcls.cli.main import app
from lungcls.labels import CLASSES
from lungcls.weights import load_card

Run = Callable[..., Result]


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--device", "cpu"], catch_exceptions=False)


@pytest.fixture
def calibrate(weights: dict[str, str], manifest_database: Path, tmp_path: Path) -> Run:
    def run(*words: object, classifier: str | None = None) -> Result:
        return invoke(
            "calibrate", classifier or weights["mask"], "--data", manifest_database, "--segmenter",
            weights["segmenter"], "--resamples", 20, "--cache", tmp_path / "cache", *words,
        )  # fmt: skip

    return run


def test_a_new_card_is_written_only_where_it_is_asked_for(
    calibrate: Run, weights: dict[str, str], tmp_path: Path
) -> None:
    before = Path(weights["mask"]).with_suffix(".json").read_bytes()
    tried = calibrate()
    assert tried.exit_code == 0, tried.output
    assert "nothing is written without --out" in tried.stdout
    assert "old card" in tried.stdout
    assert "may have been trained on" in tried.stdout
    written = calibrate("--part", "all", "-o", tmp_path / "out")
    assert written.exit_code == 0, written.output
    path = tmp_path / "out/tiny-classifier.safetensors"
    assert f"--classifier {path}" in written.stdout
    assert "make sure that tiny-classifier was trained on none of them" in written.stdout
    card = load_card(path)
    assert card.conformal["data"] == {
        "dataset": "COVID-19 Radiography Database",
        "part": "all",
        "split_hash": None,
        "images": dict.fromkeys(sorted(CLASSES), 24),
    }
    # 24 images a class in 13 groups.
    assert [card.conformal["classes"][name]["groups"] for name in CLASSES] == [13] * 4
    assert Path(weights["mask"]).with_suffix(".json").read_bytes() == before


def test_classes_can_be_given_other_names(
    calibrate: Run, manifest_database: Path, weights: dict[str, str], tmp_path: Path
) -> None:
    for label, name in (("COVID", "sars-cov-2"), ("Normal", "no finding")):
        shutil.copytree(manifest_database / label / "images", tmp_path / "folders" / name)
    asked = ("--data", tmp_path / "folders", "--part", "all")
    refused = calibrate(*asked)
    assert refused.exit_code == 2
    assert "'no finding', 'sars-cov-2'" in refused.stderr
    assert "--classes four" in refused.stderr
    done = calibrate(*asked, "--layout", "folders", "--classes", "four", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    data = load_card(tmp_path / "out/tiny-classifier.safetensors").conformal["data"]
    assert data["images"] == {"COVID": 24, "Normal": 24}


def test_what_cannot_be_calibrated_on_is_told_before_anything_is_run(
    calibrate: Run, manifest_database: Path, tmp_path: Path
) -> None:
    refused = calibrate("--data", manifest_database / "COVID", "--part", "all")
    assert refused.exit_code == 2
    assert "layout masks" in refused.stderr
    assert "has no classes" in refused.stderr
    assert not (tmp_path / "cache").exists()
    wrong = calibrate("--part", "all", "--split", tmp_path / "split.csv")
    assert wrong.exit_code == 2
    assert "--split" in wrong.stderr


def test_an_evaluation_can_be_computed_again_from_its_answers(
    calibrate: Run, weights: dict[str, str], manifest_database: Path, tmp_path: Path
) -> None:
    calibrate("-o", tmp_path / "out")
    classifier = tmp_path / "out/tiny-classifier.safetensors"
    card = load_card(classifier)
    result = invoke(
        "evaluate", "--data", manifest_database, "--classifier", classifier,
        "--segmenter", weights["segmenter"],
        "--resamples", 20, "--cache", tmp_path / "cache", "-o", tmp_path / "figures", "--table",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "conformal_coverage@0.9" in result.stdout
    with (tmp_path / "figures/evaluation_answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    logits = np.array([[float(row[f"logit_{name}"]) for name in CLASSES] for row in rows])
    labels = np.array([CLASSES.index(row["label"]) for row in rows])
    report = json.loads((tmp_path / "figures/evaluation.json").read_text())["reports"]["tiny-classifier"]
    for when, temperature in (("uncalibrated", 1.0), ("calibrated", card.temperature)):
        p = softmax(logits / temperature, axis=1)
        figures = report["trust"]["calibration"][when]["overall"]
        assert figures["nll"]["value"] == pytest.approx(
            -np.log(p[np.arange(len(p)), labels]).mean(), abs=1e-3
        )
        assert figures["brier"]["value"] == pytest.approx(
            ((p - np.eye(4)[labels]) ** 2).sum(axis=1).mean(), abs=1e-3
        )
    assert report["overall"]["ece"] == report["trust"]["calibration"]["calibrated"]["overall"]["ece"]
    p = softmax(logits / card.temperature, axis=1)
    assert [[float(row[name]) for name in CLASSES] for row in rows] == pytest.approx(p, abs=1e-4)
    sets = [row["set_0.9"].split(";") for row in rows]
    found = report["trust"]["conformal"]["0.9"]["overall"]
    assert found["set_size"]["value"] == pytest.approx(np.mean([len(held) for held in sets]))
    assert found["coverage"]["value"] == pytest.approx(
        np.mean([row["label"] in held for row, held in zip(rows, sets)])
    )
    pytest.importorskip("matplotlib", reason="the diagram needs the extra plots")
    with Image.open(tmp_path / "figures/evaluation_reliability_tiny-classifier.png") as picture:
        assert picture.format == "PNG"


def test_predict_gives_sets_tiers_and_spreads(
    weights: dict[str, str],
    make_card_values: Callable[..., Any],
    draw: Callable[..., Path],
    tmp_path: Path,
) -> None:
    from lungcls.evaluation.conformal import fit_conformal
    from lungcls.weights import load_state, save_weights

    _, state = load_state(weights["mask"])
    rng = np.random.default_rng(0)
    stored = fit_conformal(rng.dirichlet(np.ones(4), 60), rng.integers(0, 4, 60), range(60), CLASSES)
    for name, temperature in (("one", 1.0), ("two", 0.2)):
        values = make_card_values(name=name, temperature=temperature)
        save_weights(tmp_path, state, **values, conformal=stored)
    films = [draw(tmp_path / f"in/{name}.png", seed=seed) for seed, name in enumerate("ab")]

    def predicted(out: str, *words: object) -> list[dict[str, str]]:
        stages = ("--segmenter", weights["segmenter"], "--gate", "none", *words)
        result = invoke("predict", *films, "-o", tmp_path / out, *stages)
        assert result.exit_code == 0, result.output
        with (tmp_path / out / "predictions.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    one, two = (["--classifier", tmp_path / f"{name}.safetensors"] for name in ("one", "two"))
    plain = predicted("plain", *one, "--coverage", 0.5)
    wide = predicted("wide", *one, "--coverage", 0.99)
    changed = predicted("changed", *one, "--tta", 2)
    together = predicted("together", *one, *two)
    for row in (*plain, *wide, *changed, *together):
        assert list(row)[5:13] == [
            "label", "confidence", "tier", "second", "conformal_set", "spread", "disagreement", "promised",
        ]  # fmt: skip
        ordered = sorted(CLASSES, key=lambda name: -float(row[name]))
        assert [row["label"], row["second"]] == ordered[:2]
        assert float(row["confidence"]) == pytest.approx(float(row[row["label"]]), abs=1e-6)
        assert row["tier"] in ("high", "moderate", "low")
        assert row["conformal_set"].split(";")[0] == row["label"]
    for narrow, broad in zip(plain, wide):
        assert set(narrow["conformal_set"].split(";")) <= set(broad["conformal_set"].split(";"))
        # 60 images cannot tell what a class is like 99 times in 100.
        assert len(broad["conformal_set"].split(";")) == 4
        assert (narrow["spread"], narrow["disagreement"]) == ("", "")
    for row in (*changed, *together):
        assert float(row["spread"]) > 0
        assert float(row["disagreement"]) > 0
    about = json.loads((tmp_path / "together/predictions.json").read_text())
    assert about["weights"]["classifier 1"]["name"] == "one"
    assert about["weights"]["classifier 2"]["name"] == "two"
    assert about["options"]["coverage"] == 0.9


def test_a_coverage_that_cannot_be_kept_is_wrong_use(
    weights: dict[str, str], draw: Callable[..., Path], tmp_path: Path
) -> None:
    film = draw(tmp_path / "a.png")
    stages = ["--segmenter", weights["segmenter"], "--classifier", weights["mask"]]
    result = invoke("predict", film, *stages, "--coverage", 0.9)
    assert result.exit_code == 2
    assert "no conformal scores" in result.stderr
    assert "lungcls calibrate" in result.stderr
    result = invoke("predict", film, *stages, "--coverage", 90)
    assert result.exit_code == 2
    assert "coverage is 90" in result.stderr
