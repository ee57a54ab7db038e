"""From an image to an explanation: options, mapping back, and what is withheld or stood in for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import lungcls
from lungcls.errors import ImageError, LungMaskError, MissingExtraError
from lungcls.explanation import Explanation, explain_predictions
from lungcls.labels import CLASSES
from lungcls.pipeline import Pipeline
from lungcls.prediction import Failure
from lungcls.regions import seen_box
from lungcls.segmenter import Segmenter

pytest.importorskip("pytorch_grad_cam", reason="lungcls[explain] is not installed")

Pixels = npt.NDArray[np.float32]
Make = Callable[..., Pipeline]


def xray(shape: tuple[int, int] = (150, 200), lungs: int = 2, seed: int = 0) -> Pixels:
    """Dark lungs on grey."""
    height, width = shape
    pixels = np.random.default_rng(seed).uniform(0.5, 0.9, shape).astype(np.float32)
    for lung in range(lungs):
        left = width // 8 + lung * width // 2
        pixels[height // 6 : -height // 6, left : left + width // 4] = 0.1
    return pixels


@pytest.fixture(scope="module")
def make(dark_segmenter: Segmenter, tiny_classifier: Path) -> Make:
    def build(**options: Any) -> Pipeline:
        stages = {"segmenter": dark_segmenter, "classifier": tiny_classifier, "gate": None}
        return Pipeline(**{**stages, "device": "cpu", **options})

    return build


@pytest.fixture(scope="module")
def pipeline(make: Make) -> Pipeline:
    return make(batch_size=2)


@pytest.mark.parametrize("shape", [(150, 200), (220, 140)])
def test_an_explanation_lies_on_the_image(pipeline: Pipeline, shape: tuple[int, int]) -> None:
    pixels = xray(shape)
    found = pipeline.explain(pixels, method="gradcam++", target="COVID")
    assert isinstance(found, Explanation)
    assert (found.method, found.target, found.classifier) == ("gradcam++", "COVID", "tiny-classifier")
    assert found.grid.shape == (2, 2)
    cam = found.cam
    assert (cam.shape, cam.dtype) == (shape, np.float32)
    assert cam.min() >= 0
    assert cam.max() == (0 if found.empty else 1)
    x0, y0, x1, y1 = found.frame.box
    assert (
        found.frame.box == seen_box(shape, pixels < 0.3, pipeline.classifier.region) != (0, 0, *shape[::-1])
    )
    outside = np.ones(shape, np.bool_)
    outside[y0:y1, x0:x1] = False
    assert not cam[outside].any()


def test_the_default_target_is_the_most_probable_class(pipeline: Pipeline) -> None:
    for found in pipeline.explain([xray(seed=seed) for seed in range(3)]):
        assert found.target == found.prediction.label
        assert found.prediction.label == max(CLASSES, key=lambda name: found.prediction.probabilities[name])


def test_one_in_one_out_and_several_in_order(pipeline: Pipeline) -> None:
    sources = [xray(seed=seed) for seed in range(5)]
    several = pipeline.explain(sources)
    for source, found in zip(sources, several):
        alone = pipeline.explain(source)
        assert alone.target == found.target
        np.testing.assert_allclose(alone.grid, found.grid, rtol=1e-3, atol=1e-6)
    assert pipeline.explain([]) == []


def test_failures_keep_their_places(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    results = list(
        pipeline.explain_stream([xray(), str(tmp_path / "bad.png"), xray(seed=1)], on_error="return")
    )
    assert [isinstance(result, Failure) for result in results] == [False, True, False]
    with pytest.raises(ImageError, match=r"bad\.png"):
        list(pipeline.explain_stream([str(tmp_path / "bad.png")]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "saliency"}, "method is 'saliency'"),
        ({"target": "Tuberculosis"}, "target is 'Tuberculosis'"),
        ({"layer": "no.such"}, "no layer 'no.such'"),
        ({"layer": "features", "method": "occlusion"}, "take a layer"),
    ],
)
def test_wrong_options_are_found_before_an_image_is_read(
    pipeline: Pipeline, options: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        pipeline.explain("no-such-file.png", **options)


def test_a_missing_extra_names_itself(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "captum.attr", None)
    with pytest.raises(MissingExtraError, match=r"lungcls\[explain\]"):
        pipeline.explain("no-such-file.png", method="occlusion")


def test_the_whole_image_is_explained_where_it_stood_in(pipeline: Pipeline) -> None:
    found = pipeline.explain(xray(lungs=1))
    assert found.prediction.fallback
    assert found.frame.box == (0, 0, 200, 150)
    assert found.shares["lungs_chance"] == pytest.approx(found.prediction.lungs.mask.mean())
    assert "whole image" in _words(found)
    nothing = pipeline.explain(xray(lungs=0), method="gradcam++")
    assert nothing.prediction.box is None
    assert nothing.shares["lungs_chance"] == nothing.shares["lungs_ceiling"] == 0
    assert nothing.figure(4).size[0] > 0


def test_what_is_refused_is_not_explained(make: Make) -> None:
    with pytest.raises(LungMaskError):
        make(on_bad_mask="refuse").explain(xray(lungs=1))


def test_a_withheld_label_is_explained_and_the_figure_says_so(make: Make) -> None:
    found = make(on_reject="abstain").explain(xray(lungs=1))
    assert found.prediction.label is None
    assert found.target == max(CLASSES, key=lambda name: found.prediction.probabilities[name])
    assert "no answer" in _words(found)


def _words(found: Explanation) -> str:
    from lungcls.explanation.figure import _heading

    return " ".join(_heading(found))


def test_another_network_can_be_asked(pipeline: Pipeline) -> None:
    from lungcls.explanation import randomised

    (prediction,) = pipeline.predict([xray()])
    classifier = pipeline.classifier
    own, control = (
        explain_predictions([prediction], classifier, method="gradcam++", target="COVID", module=module)[0]
        for module in (None, randomised(classifier.module))
    )
    assert not np.allclose(own.cam, control.cam)


def test_values_are_json_safe(pipeline: Pipeline) -> None:
    values = pipeline.explain(xray(), target="Normal").to_dict()
    again = json.loads(json.dumps(values, allow_nan=False))
    assert (again["method"], again["target"], again["resolution"]) == ("gradcam", "Normal", [2, 2])
    assert set(again["probabilities"]) == set(CLASSES)
    assert {"lungs", "image_left", "upper", "lungs_chance", "lungs_ceiling"} <= set(again["shares"])


@pytest.mark.parametrize("shape", [(60, 80), (1500, 700), (24, 31)])
@pytest.mark.parametrize("panels", [2, 4])
def test_figures_have_one_size_and_overlays_the_images(
    pipeline: Pipeline, shape: tuple[int, int], panels: int
) -> None:
    found = pipeline.explain(xray(shape))
    figure = found.figure(panels)
    assert figure.mode == "RGB"
    assert figure.width == 916
    assert figure.height > (1100 if panels == 4 else 600)
    assert found.overlay().size == shape[::-1]


def test_a_figure_shows_the_map(pipeline: Pipeline) -> None:
    found = pipeline.explain(xray(), method="gradcam++")
    overlay = np.asarray(found.overlay()).astype(int)
    grey = np.ptp(overlay, axis=2) == 0
    x0, y0, x1, y1 = found.frame.box
    assert grey[:y0].all()
    assert grey[:, x1:].all()
    assert not grey[y0:y1, x0:x1].all()
    with pytest.raises(ValueError, match="panels is 3"):
        found.figure(3)


def test_a_file_is_read_again_for_its_figure(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.rint(xray() * 255).astype(np.uint8)).save(path)
    found = pipeline.explain(path)
    found.figure(2)
    path.unlink()
    assert found.cam.shape == (150, 200)
    with pytest.raises(ImageError):
        found.figure(2)


def test_the_function_uses_a_pipeline_that_stays_loaded(tiny_segmenter: Path, tiny_classifier: Path) -> None:
    options = {"segmenter": tiny_segmenter, "classifier": tiny_classifier, "device": "cpu", "gate": None}
    found = lungcls.explain(xray(), method="layercam", target="COVID", **options)
    assert isinstance(found, lungcls.Explanation)
    assert found.method == "layercam"
    assert [each.target for each in lungcls.explain([xray()], target="Normal", **options)] == ["Normal"]


def test_real_images(real_data: Path) -> None:
    names = sorted((real_data / "radiography/COVID/images").iterdir())[:2]
    for region in ("mask", "full"):
        pipe = Pipeline(region=region, device="cpu")
        for found in pipe.explain([str(name) for name in names]):
            assert found.cam.max() == pytest.approx(1)
            assert found.shares["lungs"] <= found.shares["lungs_ceiling"]
            assert found.shares["lungs_chance"] < found.shares["lungs_ceiling"]
