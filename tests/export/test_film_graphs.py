"""The graphs that a page runs say what the library says."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from lungcls import conformal
from lungcls.finder import assess
from lungcls.gate.screening import judge
from lungcls.images import read_image
from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline
from lungcls.quality import mask_quality
from lungcls.regions import dilate_mask
from lungcls.segmenter import clean_up
from lungcls.tone import level, stretch
from lungcls.weights import find_weights, load_card

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
functions = pytest.importorskip("lungcls.export.film_functions")
film_graphs = pytest.importorskip("lungcls.export.film_graphs")
page = pytest.importorskip("lungcls.export.page")

QUIET = ort.SessionOptions()
QUIET.log_severity_level = 3
FILM = chest_phantom((210, 180), seed=5)


@lru_cache
def session_of(function: Any, kinds: tuple[tuple[Any, int], ...]) -> Any:
    """One function, as a graph of its own, for inputs of these types and dimensions."""
    model = function.to_model_proto()
    for value, (kind, dimensions) in zip(model.graph.input, kinds):
        tensor = onnx.helper.np_dtype_to_tensor_dtype(kind)
        value.type.CopyFrom(onnx.helper.make_tensor_type_proto(tensor, [None] * dimensions))
    return ort.InferenceSession(model.SerializeToString(), QUIET)


def run(function: Any, *values: Any) -> list[Any]:
    arrays = [np.asarray(value) for value in values]
    session = session_of(function, tuple((array.dtype, array.ndim) for array in arrays))
    return list(session.run(None, dict(zip((each.name for each in session.get_inputs()), arrays))))


def blobs(seed: int, shape: tuple[int, int] = (96, 88)) -> np.ndarray:
    """A mask with parts, holes and ragged edges."""
    from skimage.filters import gaussian

    noise = gaussian(np.random.default_rng(seed).normal(size=shape), 4)
    return np.asarray(noise > np.quantile(noise, 0.6))


@pytest.mark.parametrize(
    ("shape", "target"),
    [((256, 231), (192, 173)), ((50, 40), (176, 141)), ((130, 700), (64, 12)), ((9, 9), (9, 1))],
)
def test_resizing_is_that_of_pillow(shape: tuple[int, int], target: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32) / np.float32(255)
    (found,) = run(functions.resize, pixels, np.array(target))
    expected = PILImage.fromarray(pixels).resize(target[::-1], PILImage.Resampling.BILINEAR)
    np.testing.assert_allclose(found, np.asarray(expected), atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_masks_are_cleaned_widened_and_measured_alike(seed: int) -> None:
    mask = blobs(seed)
    (cleaned,) = run(functions.clean_up, mask.astype(np.float32))
    np.testing.assert_array_equal(cleaned > 0, clean_up(mask))
    for fraction in (0.0, 0.03, 0.2):
        for aspect in (1.0, 2.0, 0.6):
            (wide,) = run(functions.dilate, mask.astype(np.float32), np.array(fraction), np.array(aspect))
            np.testing.assert_array_equal(wide > 0, dilate_mask(mask, fraction, aspect))


@pytest.mark.parametrize("gain", [0.15, 0.4, 1])
def test_tones_are_alike(gain: float) -> None:
    pixels = FILM.image * np.float32(gain)
    for function, tone in ((functions.tone_range, stretch), (functions.tone_levels, level)):
        np.testing.assert_allclose(run(function, pixels)[0], tone(pixels), atol=2e-5)


@pytest.mark.parametrize("score", conformal.SCORES)
def test_p_values_are_alike(score: str) -> None:
    generator = np.random.default_rng(1)
    stored = {
        "score": score,
        "classes": {
            name: {
                "groups": 30,
                "below": list(range(1, count + 1)),
                "scores": sorted(generator.random(count)),
            }
            for name, count in (("a", 7), ("b", 5), ("c", 0))
        },
    }
    likely = generator.dirichlet(np.ones(3), 1)
    card = type("Card", (), {"conformal": stored, "classes": ("a", "b", "c")})
    scores = run(getattr(functions, f"score_{score}"), likely)[0]
    np.testing.assert_allclose(scores, conformal.nonconformity(likely, score), atol=1e-12)
    arrays = film_graphs.conformal_arrays(card)
    found = run(functions.p_values, scores, arrays["known"], arrays["below"], arrays["groups"])[0]
    np.testing.assert_allclose(found, conformal.p_values(likely, stored, card.classes))


def test_the_script_judges_as_the_library() -> None:
    """``judge.js`` on the gate's outputs and on measured masks, in Node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed: the page's script is not run")
    gate = load_card("gate")
    generator = np.random.default_rng(2)
    looks = [generator.normal(scale=6, size=10) for _ in range(200)]
    for values in looks:
        values[-1] = abs(values[-1]) / 4
    masks = [np.zeros((70, 80), bool), FILM.mask, *(blobs(seed) for seed in range(4))]
    masks += [np.roll(FILM.mask, 60, 1), FILM.mask & (np.arange(FILM.mask.shape[1]) < 90), clean_up(blobs(9))]
    names = film_graphs.MEASURES[:-1]
    limit_and_aspect = np.array(0.15), np.array(1.0)
    measured = [
        dict(zip(names, map(float, run(functions.measures, mask.astype(np.float32), *limit_and_aspect))))
        for mask in masks
    ]
    script = f"""
        import {{ assess, maskQuality, screen }} from {json.dumps((page.SOURCES / "judge.js").as_uri())};
        const {{ rules, looks, measured, film }} = JSON.parse(process.argv[1]);
        const screened = looks.map((values) => screen(values, rules));
        const masks = measured.map((each) => maskQuality({{ ...each, agreement: 0.7 }}, rules));
        const all = masks.flatMap((mask) => screened.map((each) => assess(film, each, mask, rules)));
        const told = all.map(({{ accepted, ok, lungs, reasons }}) => [accepted, ok, lungs, reasons]);
        console.log(JSON.stringify(told));
    """
    case = {
        "rules": page.rules_of(gate, 0.9),
        "looks": [values.tolist() for values in looks],
        # JSON has no NaN: what an empty mask measures is not looked at.
        "measured": [{name: np.nan_to_num(value) for name, value in each.items()} for each in measured],
        "film": {"height": 80, "width": 70, "notes": []},
    }
    command = [node, "--input-type=module", "--eval", script, json.dumps(case)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    screened = [judge(values, gate.thresholds) for values in looks]
    expected = [assess(mask, 0.7, each) for mask in masks for each in screened]
    seen = set()
    for (accepted, ok, lungs, reasons), quality in zip(found, expected, strict=True):
        assert (accepted, ok, lungs) == (quality.accepted, quality.ok, quality.lungs)
        assert [each["name"] for each in reasons] == [each.name for each in quality.reasons]
        for each, reason in zip(reasons, quality.reasons):
            assert each["value"] == pytest.approx(reason.value, abs=1e-5)
            assert (each["threshold"], each["message"]) == (reason.threshold, reason.message)
            seen.add(reason.name)
    assert {"no_lungs", "one_lung", "lateral", "ragged_mask", "out_of_distribution"} <= seen


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("graphs")
    made = {
        "gate": film_graphs.gate_graph("gate"),
        "segmenter": film_graphs.segmenter_graph("segmenter"),
        "classifier-mask": film_graphs.classifier_graph("classifier-mask"),
    }
    for name, (_, model) in made.items():
        weights = find_weights(name)
        shutil.copy(weights.with_suffix(".safetensors"), folder)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    return {name: ort.InferenceSession(folder / f"{name}.onnx", QUIET) for name in made}


@pytest.mark.parametrize(("shape", "rows_apart"), [((210, 180), 1), ((160, 230), 1), ((420, 180), 2)])
def test_graphs_answer_as_the_pipeline(
    sessions: dict[str, Any], shape: tuple[int, int], rows_apart: int
) -> None:
    film = chest_phantom((shape[0], shape[1] * rows_apart), seed=6).image[::rows_apart]
    aspect = float(rows_apart)
    pipeline = Pipeline(engine="onnxruntime", device="cpu")
    expected = pipeline.predict(replace(read_image(film), pixel_aspect=aspect))
    feeds = {"film": film, "aspect": np.array(aspect)}
    screening = judge(sessions["gate"].run(["logits"], feeds)[0][0], load_card("gate").thresholds)
    assert screening.chest == pytest.approx(expected.quality.values["chest"], abs=1e-4)
    names = [output.name for output in sessions["segmenter"].get_outputs()]
    found = dict(zip(names, sessions["segmenter"].run(names, feeds)))
    assert np.count_nonzero((found["mask"] > 0) != expected.lungs.mask) <= 3
    values = mask_quality(found["mask"] > 0, float(found["agreement"]), aspect).values
    for name, value in values.items():
        assert float(found[name]) == pytest.approx(value, abs=1e-5), name
    assert np.mean(found["picture"][..., :3] != np.asarray(expected.overlay())) < 0.001
    outputs = ["probabilities", "p_values", "views"]
    likely, fits, view = sessions["classifier-mask"].run(outputs, {**feeds, "mask": found["mask"]})
    np.testing.assert_allclose(likely[0], list(expected.probabilities.values()), atol=1e-3)
    assert expected.p_values is not None
    np.testing.assert_allclose(fits[0], list(expected.p_values.values()), atol=0.02)
    assert np.mean(view[0] != expected.view) < 0.001


def test_a_page_needs_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from lungcls.cli.main import app

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LUNGCLS_CACHE", str(tmp_path / "cache"))
    result = CliRunner().invoke(app, ["page", "build", "-o", str(tmp_path / "page")])
    assert result.exit_code == 2
    assert "needs npm" in result.stderr
    assert not (tmp_path / "page").exists()
