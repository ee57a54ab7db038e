"""The gate inside the pipeline and the command line, with the released weights of the gate."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lungcls.cli.main import app
from lungcls.errors import RejectedError
from lungcls.gate.screening import Gate
from lungcls.labels import CLASSES
from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline
from lungcls.prediction import Failure, Prediction

PHANTOM = chest_phantom(128, seed=3, letter=None)
FILM = PHANTOM.image
STRIPES = np.tile(np.repeat([0.1, 0.9], 8).astype(np.float32), (128, 8))


@pytest.fixture(scope="module")
def make(tiny_classifier: Path) -> Callable[..., Pipeline]:
    def build(**options: Any) -> Pipeline:
        return Pipeline(classifier=tiny_classifier, device="cpu", **options)

    return build


def names(found: Prediction) -> list[str]:
    return [reason.name for reason in found.quality.reasons]


def test_only_what_is_no_chest_xray_gets_no_label(make: Callable[..., Pipeline]) -> None:
    film, turned, stripes = make().predict([FILM, np.ascontiguousarray(FILM[::-1]), STRIPES])
    assert (film.label in CLASSES, film.quality.ok, names(film)) == (True, True, [])
    assert (turned.label in CLASSES, turned.quality.ok, names(turned)) == (True, False, ["rotated_180"])
    assert (stripes.label, stripes.quality.accepted, names(stripes)[0]) == (None, False, "not_chest_xray")
    assert "does not look like a frontal chest X-ray" in stripes.words()
    values = json.loads(json.dumps(stripes.to_dict(), allow_nan=False))
    assert (values["label"], values["quality"]["accepted"]) == (None, False)


def test_abstaining_withholds_the_label_of_all_that_is_wrong(make: Callable[..., Pipeline]) -> None:
    found = make(on_reject="abstain").predict([FILM, np.ascontiguousarray(FILM[::-1]), STRIPES, 1 - FILM])
    assert [one.label is None for one in found] == [False, True, True, False]


def test_raising_names_the_reason_its_value_and_its_threshold(make: Callable[..., Pipeline]) -> None:
    pipeline = make(on_reject="raise")
    with pytest.raises(RejectedError, match=r"rotated_180 \(.*threshold.*on_reject='flag'"):
        pipeline.predict(np.ascontiguousarray(FILM[::-1]))
    with pytest.raises(RejectedError, match="not_chest_xray"):
        pipeline.segment(STRIPES)
    found = list(pipeline.stream([FILM, STRIPES, 1 - FILM], on_error="return"))
    assert [type(one) for one in found] == [Prediction, Failure, Prediction]
    assert isinstance(found[1].error, RejectedError)


def test_an_inverted_film_is_predicted_as_its_inverse_is(
    make: Callable[..., Pipeline], tmp_path: Path
) -> None:
    pipeline = make()
    film, inverted = pipeline.predict([FILM, 1 - FILM])
    assert names(inverted) == ["inverted"]
    assert (inverted.quality.ok, inverted.quality.corrected) == (True, ("inverted",))
    assert "corrected" in inverted.words()
    np.testing.assert_allclose(inverted.view.astype(int), film.view, atol=1)
    np.testing.assert_allclose(inverted.pixels(), FILM, atol=1e-6)
    path = tmp_path / "inverted.png"
    Image.fromarray(np.rint((1 - FILM) * 255).astype(np.uint8)).save(path)
    np.testing.assert_allclose(pipeline.predict(path).pixels(), FILM, atol=0.003)


def test_without_a_gate_nothing_is_refused(make: Callable[..., Pipeline]) -> None:
    found = make(gate=None).predict(STRIPES)
    assert found.label in CLASSES
    assert found.quality.accepted
    gate = Gate.load("gate", "cpu")
    assert make(gate=gate).gate is gate


def test_wrong_option(make: Callable[..., Pipeline]) -> None:
    with pytest.raises(ValueError, match="on_reject is 'cry'; expected one of 'flag', 'abstain', 'raise'"):
        make(on_reject="cry")


@pytest.fixture
def run(tiny_classifier: Path, tmp_path: Path) -> Callable[..., Any]:
    for name, pixels in (
        ("film", FILM),
        ("inverted", 1 - FILM),
        ("stripes", STRIPES),
        ("turned", FILM[::-1]),
    ):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(tmp_path / f"in/{name}.png")
    stages = ["--classifier", str(tiny_classifier), "--device", "cpu"]

    def invoke(*arguments: object) -> Any:
        words = ["predict", str(tmp_path / "in"), *map(str, arguments), *stages]
        return CliRunner().invoke(app, words, catch_exceptions=False)

    return invoke


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_command_says_what_is_wrong(run: Callable[..., Any], tmp_path: Path) -> None:
    result = run()
    assert result.exit_code == 0
    assert "not_chest_xray: this does not look like a frontal chest X-ray" in result.stdout
    assert "upside down; turn it upright" in result.stdout
    assert "inverted (corrected)" in result.stdout
    result = run("-o", tmp_path / "out")
    assert "1 of them do not look like chest X-rays" in result.stdout
    film, inverted, stripes, turned = read_csv(tmp_path / "out/predictions.csv")
    assert (film["accepted"], film["ok"], film["reasons"]) == ("true", "true", "")
    assert (inverted["accepted"], inverted["ok"], inverted["reasons"]) == (
        "true",
        "true",
        "inverted (corrected)",
    )
    assert (stripes["accepted"], stripes["label"]) == ("false", "")
    assert stripes["reasons"].split(";")[0] == "not_chest_xray"
    # No probabilities either, of which a label could be made.
    assert all(stripes[name] == "" for name in CLASSES)
    assert (turned["accepted"], turned["ok"], turned["reasons"]) == ("true", "false", "rotated_180")
    assert turned["label"] in CLASSES


@pytest.mark.parametrize(("choice", "code"), [("abstain", 0), ("raise", 1)])
def test_on_reject_from_the_command(run: Callable[..., Any], tmp_path: Path, choice: str, code: int) -> None:
    result = run("-o", tmp_path / "out", "--on-reject", choice)
    assert result.exit_code == code
    rows = read_csv(tmp_path / "out/predictions.csv")
    assert [row["label"] in CLASSES for row in rows] == [True, True, False, False]
    assert [bool(row["error"]) for row in rows] == [False, False, bool(code), bool(code)]


def test_a_wrong_choice_is_wrong_use(run: Callable[..., Any]) -> None:
    result = run("--on-reject", "cry")
    assert result.exit_code == 2
    assert "expected one of 'flag', 'abstain', 'raise'" in result.stderr
