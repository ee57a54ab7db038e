from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lungcls import Pipeline, read_image
from lungcls.cli.main import app
from lungcls.data import open_radiography
from lungcls.engines import load_network
from lungcls.errors import WeightsError
from lungcls.evaluation.segmentation import dice
from lungcls.export import FORMATS, export_pipeline, export_stage, modules
from lungcls.export.modules import PipelineModule, stage_module
from lungcls.export.quantise import quantise_stage
from lungcls.files import file_sha256
from lungcls.phantom import chest_phantom
from lungcls.regions import REGIONS, Region, view
from lungcls.weights import load_card


def _views(count: int, side: int = 64) -> np.ndarray:
    return np.stack([(chest_phantom(side, seed=seed).image * 255).astype(np.uint8) for seed in range(count)])


@pytest.fixture(scope="module")
def exported(stages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command fills: both stages and the pipeline as ONNX."""
    folder = tmp_path_factory.mktemp("exported") / "out"
    result = CliRunner().invoke(app, ["export", *map(str, stages.values()), "--out", str(folder)])
    assert result.exit_code == 0, result.output
    assert "small-cnn.onnx" in result.output
    return folder


def _same_answers(weights: Path, path: Path, task: str) -> None:
    card = load_card(path)
    parts = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    assert card == replace(load_card(weights), files=card.files)
    assert {part.name: file_sha256(part) for part in parts}.items() <= card.files.items()
    views = _views(3)
    expected = load_network(weights, task, engine="torch", device="cpu")[1](views)
    for count in (3, 1):
        found = load_network(path, task, device="cpu")[1](views[:count])
        np.testing.assert_allclose(found, expected[:count], atol=1e-4)


def test_the_command_writes_both_stages_and_the_pipeline(stages: dict[str, Path], exported: Path) -> None:
    names = ("small-segmenter", "small-cnn", "pipeline-small-cnn")
    expected = sorted(f"{name}.{suffix}" for name in names for suffix in ("onnx", "json"))
    assert sorted(path.name for path in exported.iterdir()) == expected
    for task, weights in stages.items():
        _same_answers(weights, exported / f"{weights.stem}.onnx", task)


@pytest.mark.parametrize("format", ["openvino", "torch"])
def test_other_formats_answer_as_before(stages: dict[str, Path], tmp_path: Path, format: str) -> None:
    path = export_stage(stages["classification"], tmp_path, format)
    assert path.suffix == FORMATS[format]
    _same_answers(stages["classification"], path, "classification")


def test_plain_onnxruntime_runs_the_files(exported: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = exported / "small-cnn.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (views,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (views.name, views.type, views.shape) == ("views", "tensor(uint8)", ["batch", 64, 64])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 4])
    assert session.run(None, {"views": _views(5)})[0].shape == (5, 4)


def test_the_whole_pipeline_is_one_file(stages: dict[str, Path], exported: Path) -> None:
    weights = stages["segmentation"], stages["classification"]
    path = exported / "pipeline-small-cnn.onnx"
    module = PipelineModule(
        *stage_module(weights[0], "segmentation"), *stage_module(weights[1], "classification")
    ).eval()
    for shape in ((3, 80, 100), (1, 130, 90)):
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        with torch.inference_mode():
            expected = [value.numpy() for value in module(torch.from_numpy(images))]
        found = _run(path, images)
        assert (found[0].astype(bool) != expected[0]).mean() < 1e-3
        np.testing.assert_allclose(found[1], expected[1], atol=1e-3)
        np.testing.assert_array_equal(found[2], expected[2])
    note = json.loads(path.with_suffix(".json").read_text())
    assert note["classifier"]["sha256"] == load_card(weights[1]).sha256
    assert set(note["outputs"]) == {"mask", "probabilities", "box"}


def _run(path: Path, images: np.ndarray) -> list[np.ndarray]:
    names = ("mask", "probabilities", "box")
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return list(session.run(list(names), {"images": images}))
    if path.suffix == ".xml":
        import openvino

        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        answers = openvino.Core().compile_model(path, "CPU", hint)({"images": images})
        return [np.asarray(answers[name]) for name in names]
    return [value.numpy() for value in torch.export.load(path).module()(torch.from_numpy(images))]


@pytest.mark.parametrize("name", REGIONS)
def test_the_pipeline_in_tensors_sees_what_the_pipeline_sees(stages: dict[str, Path], name: str) -> None:
    """Every region, with the true mask of a phantom in place of what an untrained network finds."""
    card, second = stage_module(stages["classification"], "classification")
    first_card, first = stage_module(stages["segmentation"], "segmentation")
    region = Region(name, margin=0.06, dilate=0.02)
    module = PipelineModule(first_card, first, replace(card, region=region.to_dict()), second)
    phantom = chest_phantom((150, 190), seed=5)
    pixels = (phantom.image * 255).astype(np.uint8)
    images, mask = torch.from_numpy(pixels)[None] / 255.0, torch.from_numpy(phantom.mask)[None]
    whole = modules._whole_box(images)
    shown, box = module._cut(images, mask, torch.tensor([True]), whole)
    found = modules._fit(shown, box, 64)[0].numpy()
    expected = view(read_image(pixels).pixels, phantom.mask, region, 64)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != expected).mean() < 0.01


def test_real_images_give_the_pipelines_answers(real_data: Path) -> None:
    """The released weights: as the library, without the clean-up that has no place in a graph."""
    module = PipelineModule(
        *stage_module("segmenter", "segmentation"), *stage_module("classifier-mask", "classification")
    ).eval()
    pipeline = Pipeline(engine="torch", device="cpu", fill_holes=False, keep_parts=0, gate=None)
    classifier = pipeline.classifier
    database = open_radiography(real_data)
    compared = 0
    for record in database.records[::1500]:
        file = database.path(record)
        expected = pipeline.predict(file)
        pixels = np.rint(read_image(file).pixels * 255).astype(np.uint8)
        with torch.inference_mode():
            mask, probabilities, box = module(torch.from_numpy(pixels)[None])
        assert dice(mask[0].numpy(), expected.lungs.mask) > 0.999
        if expected.fallback:
            continue  # one lung: see PipelineModule
        answers = list(expected.probabilities.values())
        if not np.array_equal(mask[0].numpy(), expected.lungs.mask):
            # A pixel at the threshold fell to the other side: the pipeline's second stage on the mask found.
            cut = view(
                read_image(file).pixels, mask[0].numpy(), classifier.region, classifier.card.input_size
            )
            answers = list(classifier.probabilities(cut[None])[0])
        np.testing.assert_allclose(probabilities[0].numpy(), answers, atol=1e-3)
        np.testing.assert_array_equal(box[0].numpy(), expected.box)
        compared += 1
    assert compared > 0


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_released_files_agree_on_real_images(real_data: Path, tmp_path: Path, format: str) -> None:
    path = export_pipeline("segmenter", "classifier-mask", tmp_path, format)
    module = PipelineModule(
        *stage_module("segmenter", "segmentation"), *stage_module("classifier-mask", "classification")
    ).eval()
    database = open_radiography(real_data)
    for record in database.records[::800]:
        pixels = np.rint(read_image(database.path(record)).pixels * 255).astype(np.uint8)[None]
        with torch.inference_mode():
            expected = [value.numpy() for value in module(torch.from_numpy(pixels))]
        found = _run(path, pixels)
        assert dice(found[0][0].astype(bool), expected[0][0]) > 0.999
        np.testing.assert_allclose(found[1], expected[1], atol=1e-3)
        assert found[1].argmax() == expected[1].argmax()


def test_an_empty_mask_lets_the_whole_image_stand_in(stages: dict[str, Path]) -> None:
    first_card, first = stage_module(stages["segmentation"], "segmentation")
    second_card, second = stage_module(stages["classification"], "classification")
    never = replace(first_card, thresholds={"mask": 1 - 1e-7})
    images = torch.from_numpy(_views(2, 96))
    full = replace(second_card, region={"name": "full"})
    with torch.inference_mode():
        mask, probabilities, box = PipelineModule(never, first, second_card, second)(images)
        expected = PipelineModule(never, first, full, second)(images)[1]
    assert not mask.any()
    torch.testing.assert_close(probabilities, expected)
    assert box.tolist() == [[0, 0, 96, 96]] * 2


@pytest.mark.slow
def test_int8_stays_close(stages: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    views = _views(8)
    (tmp_path / "small-segmenter.json").write_text("of an earlier export")
    path = quantise_stage(stages["segmentation"], tmp_path, views)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *(f"small-segmenter-int8.{suffix}" for suffix in ("bin", "json", "xml")),
        "small-segmenter.json",
    ]
    assert (tmp_path / "small-segmenter.json").read_text() == "of an earlier export"
    assert load_card(path).name == "small-segmenter-int8"
    assert "FakeQuantize" in path.read_text()
    expected = load_network(stages["segmentation"], "segmentation", engine="torch", device="cpu")[1](views)
    found = load_network(path, "segmentation", device="cpu")[1](views)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_unknown_formats_are_refused(stages: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown format 'tflite'; the formats are onnx, openvino, torch"):
        export_stage(stages["classification"], tmp_path, "tflite")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--out"),
        (["--out", "x", "--format", "tflite"], "--format is 'tflite'"),
        (["--out", "x", "--share-weights"], "leave out --out"),
        (["--out", "x", "--int8"], "--format openvino"),
        (["--out", "x", "--int8", "--format", "openvino"], "--data"),
    ],
)
def test_wrong_use_is_one_line(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LUNGCLS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["export", *options])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_flipped_byte_of_an_export_is_seen(stages: dict[str, Path], tmp_path: Path, format: str) -> None:
    path = export_stage(stages["classification"], tmp_path, format)
    for part in [path, path.with_suffix(".bin")] if format == "openvino" else [path]:
        whole = part.read_bytes()
        part.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
        with pytest.raises(WeightsError, match=rf"{part.name}: SHA-256 is"):
            load_network(path, "classification", device="cpu")
        part.write_bytes(whole)
    load_network(path, "classification", device="cpu")


@pytest.mark.slow
def test_two_formats_share_a_card_and_other_weights_replace_it(
    stages: dict[str, Path], tmp_path: Path
) -> None:
    weights = stages["classification"]
    for format in FORMATS:
        export_stage(weights, tmp_path, format)
    assert set(load_card(tmp_path / "small-cnn.onnx").files) == {
        f"small-cnn.{s}" for s in ("onnx", "xml", "bin", "pt2")
    }
    stale = tmp_path / "small-cnn.json"
    stale.write_text(json.dumps({**json.loads(stale.read_text()), "sha256": "0" * 64}))
    export_stage(weights, tmp_path, "onnx")
    assert set(load_card(tmp_path / "small-cnn.onnx").files) == {"small-cnn.onnx"}
