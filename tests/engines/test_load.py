from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungcls.classifier import Classifier
from lungcls.engines import ENGINES, load_network, torch_module
from lungcls.engines.graphs import stamp
from lungcls.errors import MissingExtraError, WeightsError
from lungcls.weights import checked_card, find_weights, load_card, released, write_card, write_card_of

TASKS = ("segmentation", "classification")


def _views(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, side, side), dtype=np.uint8)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("task", TASKS)
def test_engines_agree_with_torch(stages: dict[str, Path], task: str, engine: str) -> None:
    views = _views(3, 64)
    card, reference = load_network(stages[task], task, engine="torch", device="cpu")
    expected = reference(views)
    other, network = load_network(stages[task], task, engine=engine, device="cpu")
    assert other == card
    assert (network.engine, network.device) == (engine, "cpu")
    logits = network(views)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    # The batch is free, and any memory layout is taken.
    np.testing.assert_allclose(network(views[::-1][:1]), expected[2:], atol=1e-4)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_bf16_changes_little(stages: dict[str, Path], engine: str) -> None:
    views = _views(4, 64)
    _, exact = load_network(stages["classification"], "classification", engine=engine, device="cpu")
    _, short = load_network(
        stages["classification"], "classification", engine=engine, device="cpu", precision="bf16"
    )
    assert short(views).dtype == np.float32
    np.testing.assert_allclose(short(views), exact(views), atol=0.05 * np.abs(exact(views)).max())


def test_auto_takes_what_the_file_was_made_for(stages: dict[str, Path]) -> None:
    path = stages["classification"]
    assert load_network(path, "classification")[1].engine == "torch"
    assert load_network(path.with_suffix(".onnx"), "classification")[1].engine == "onnxruntime"


def test_auto_without_torch(stages: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert load_network(stages["classification"], "classification")[1].engine == "onnxruntime"


def test_wrong_names_are_refused(stages: dict[str, Path]) -> None:
    path = stages["classification"]
    with pytest.raises(ValueError, match=r"unknown engine 'tensorflow'.*torch, onnxruntime, openvino"):
        load_network(path, "classification", engine="tensorflow")
    with pytest.raises(ValueError, match=r"precision is 'bf16'; the engine onnxruntime offers fp32"):
        load_network(path, "classification", engine="onnxruntime", precision="bf16")
    for engine in ENGINES:
        with pytest.raises(ValueError, match="device"):
            load_network(path, "classification", engine=engine, device="tpu:9")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_missing_engine_says_how_to_install_it(
    stages: dict[str, Path], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lungcls.engines import open_vino

    open_vino._core.cache_clear()
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(MissingExtraError, match=rf"lungcls\[(onnx|{engine})\]"):
        load_network(stages["classification"], "classification", engine=engine)
    open_vino._core.cache_clear()


def test_only_torch_has_a_module(stages: dict[str, Path]) -> None:
    path = stages["classification"]
    assert Classifier.load(path, "cpu", engine="torch").module.training is False
    light = Classifier.load(path, "cpu", engine="onnxruntime")
    assert light.device == "cpu"
    with pytest.raises(ValueError, match=r"onnxruntime has no torch module; .*engine='torch'"):
        _ = light.module
    with pytest.raises(ValueError, match="has no torch module"):
        torch_module(light.network)


def _copy(path: Path, folder: Path) -> Path:
    for suffix in (".json", ".onnx", ".safetensors"):
        shutil.copy(path.with_suffix(suffix), folder)
    return folder / path.name


def test_a_graph_of_other_weights_is_refused(stages: dict[str, Path], tmp_path: Path) -> None:
    path = _copy(stages["classification"], tmp_path)
    write_card(path, replace(load_card(path), mean=0.4))
    with pytest.raises(WeightsError, match=r"small-cnn\.onnx: this file was made of other weights"):
        load_network(path, "classification", engine="onnxruntime")


def test_damaged_weights_are_refused_without_torch_too(stages: dict[str, Path], tmp_path: Path) -> None:
    path = _copy(stages["classification"], tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"small-cnn\.safetensors: SHA-256"):
        load_network(path, "classification", engine="onnxruntime")


def test_a_missing_graph_says_how_to_make_it(stages: dict[str, Path], tmp_path: Path) -> None:
    path = _copy(stages["classification"], tmp_path)
    path.with_suffix(".onnx").unlink()
    with pytest.raises(WeightsError, match=r"lungcls export .*small-cnn\.safetensors.*--share-weights"):
        load_network(path, "classification", engine="openvino")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_broken_graph_is_named(stages: dict[str, Path], tmp_path: Path, engine: str) -> None:
    path = _copy(stages["classification"], tmp_path)
    graph = path.with_suffix(".onnx")
    graph.write_bytes(b"no graph, " + stamp(load_card(path)).encode())
    write_card_of(graph, load_card(path))
    with pytest.raises(WeightsError, match=r"small-cnn\.onnx: .*cannot load this file"):
        load_network(path, "classification", engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_for_another_task_are_refused(stages: dict[str, Path], engine: str) -> None:
    with pytest.raises(WeightsError, match="these weights are for classification; expected"):
        load_network(stages["classification"], "segmentation", engine=engine)


def test_an_engine_refuses_the_files_of_another(stages: dict[str, Path]) -> None:
    graph = stages["classification"].with_suffix(".onnx")
    with pytest.raises(WeightsError, match=r"small-cnn\.onnx: this engine does not run it; expected .*\.pt2"):
        load_network(graph, "classification", engine="torch")


@pytest.mark.parametrize("name", released())
def test_released_weights_have_their_own_graph(name: str) -> None:
    card = checked_card(name)
    graph = find_weights(name).with_suffix(".onnx")
    assert graph.is_file(), f"{graph} is missing: run python scripts/make_graphs.py"
    content = graph.read_bytes()
    assert stamp(card).encode() in content, f"{graph} is out of date: run python scripts/make_graphs.py"
    # It points into the weights instead of holding them again.
    assert len(content) < 0.1 * find_weights(name).stat().st_size + 100_000
    assert f"{name}.safetensors".encode() in content


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", released())
def test_released_weights_run_out_of_the_box(name: str, engine: str) -> None:
    card = load_card(name)
    views = _views(2, card.input_size)
    expected = load_network(name, card.task, engine="torch", device="cpu")[1](views)
    found = load_network(name, card.task, engine=engine, device="cpu")[1](views)
    np.testing.assert_allclose(found, expected, atol=1e-3 * max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("damaged", [".safetensors", ".onnx"])
def test_a_flipped_byte_is_seen_on_the_road_by_the_graph(
    stages: dict[str, Path], tmp_path: Path, engine: str, damaged: str
) -> None:
    graph = _copy(stages["classification"], tmp_path).with_suffix(".onnx")
    part = graph.with_suffix(damaged)
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"small-cnn\{damaged}: SHA-256 is"):
        load_network(graph, "classification", engine=engine)


def test_a_graph_whose_card_has_no_hash_of_it_is_refused(stages: dict[str, Path], tmp_path: Path) -> None:
    graph = _copy(stages["classification"], tmp_path).with_suffix(".onnx")
    write_card(graph, replace(load_card(graph), files={}))
    with pytest.raises(WeightsError, match=r"small-cnn\.onnx: its card has no hash of this file"):
        load_network(graph, "classification", engine="onnxruntime")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "place", ["../secret.safetensors", "/etc/passwd", "other.safetensors", "small-cnn.onnx"]
)
def test_a_graph_that_points_elsewhere_is_refused(
    stages: dict[str, Path], tmp_path: Path, engine: str, place: str
) -> None:
    onnx = pytest.importorskip("onnx")
    graph = _copy(stages["classification"], tmp_path).with_suffix(".onnx")
    model = onnx.load(graph, load_external_data=False)
    outside = next(one for one in model.graph.initializer if one.external_data)
    next(entry for entry in outside.external_data if entry.key == "location").value = place
    graph.write_bytes(model.SerializeToString())
    write_card_of(graph, load_card(graph))
    with pytest.raises(
        WeightsError, match=r"points to other files than small-cnn\.safetensors, which is refused"
    ):
        load_network(graph, "classification", engine=engine)


def test_a_location_that_is_written_in_another_way_is_refused(
    stages: dict[str, Path], tmp_path: Path
) -> None:
    graph = _copy(stages["classification"], tmp_path).with_suffix(".onnx")
    value = b"../secret"
    # The same entry with the value before its key, which protobuf allows.
    graph.write_bytes(graph.read_bytes() + b"\x12" + bytes([len(value)]) + value + b"\x0a\x08location")
    write_card_of(graph, load_card(graph))
    with pytest.raises(WeightsError, match="points to other files"):
        load_network(graph, "classification", engine="onnxruntime")


def test_weights_of_a_graph_that_are_a_link_or_huge_are_refused(
    stages: dict[str, Path], tmp_path: Path
) -> None:
    path = _copy(stages["classification"], tmp_path)
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(WeightsError, match="1,099,511,627,776 bytes; expected at most"):
        load_network(path.with_suffix(".onnx"), "classification", engine="onnxruntime")
    path.unlink()
    path.symlink_to(stages["classification"])
    with pytest.raises(WeightsError, match=r"small-cnn\.safetensors: .*must not be a link"):
        load_network(path.with_suffix(".onnx"), "classification", engine="onnxruntime")
