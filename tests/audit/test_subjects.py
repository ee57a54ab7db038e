"""Models of other frameworks, made here without weights, answer as they do at home."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lungcls.audit.subjects import Seen, load_any
from lungcls.errors import OptionError, WeightsError
from lungcls.shortcuts.subject import Subject

CLASSES = ("sick", "well")
SEEN = Seen(CLASSES, 32, mean=(0.5,), std=(0.25,))
VIEWS = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).eval()


def expected() -> np.ndarray:
    with torch.inference_mode():
        found: np.ndarray = network()((torch.from_numpy(VIEWS)[:, None].float() / 255 - 0.5) / 0.25).numpy()
    return found


def test_torchscript_and_exported_programs(tmp_path: Path) -> None:
    example = torch.zeros(3, 1, 32, 32)
    torch.jit.trace(network(), example).save(tmp_path / "net.pt")
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.export.save(
        torch.export.export(network(), (example,), dynamic_shapes=({0: batch},)), tmp_path / "net.pt2"
    )
    for name in ("net.pt", "net.pt2"):
        subject = load_any(str(tmp_path / name), SEEN, "cpu")
        assert isinstance(subject, Subject)
        assert subject.logits(VIEWS) == pytest.approx(expected(), abs=1e-5)
    torch.save(network().state_dict(), tmp_path / "state.pt")
    with pytest.raises(WeightsError, match=r"neither TorchScript.*timm:NETWORK=FILE"):
        load_any(str(tmp_path / "state.pt"), SEEN, "cpu")


def test_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    path = tmp_path / "net.onnx"
    torch.onnx.export(network(), (torch.zeros(3, 1, 32, 32),), path, dynamo=True)
    subject = load_any(str(path), SEEN)
    assert subject.logits(VIEWS) == pytest.approx(expected(), abs=1e-4)
    with pytest.raises(OptionError, match=r"has 2 outputs, --outputs names 3"):
        load_any(str(path), Seen(("a", "b", "c"), 32))
    with pytest.raises(
        OptionError, match=r"nothing says its classes; name them in their order with --outputs"
    ):
        load_any(str(path))
    path.write_bytes(b"no graph")
    with pytest.raises(WeightsError, match="not readable as an ONNX graph"):
        load_any(str(path), SEEN)


def test_timm(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    module = timm.create_model("test_vit", num_classes=2, in_chans=1).eval()
    save_file(module.state_dict(), tmp_path / "net.safetensors")
    subject = load_any(f"timm:test_vit={tmp_path / 'net.safetensors'}", Seen(CLASSES), "cpu")
    views = np.zeros((2, subject.input_size, subject.input_size), np.uint8)
    assert subject.logits(views).shape == (2, 2)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_any(f"timm:resnet18={tmp_path / 'net.safetensors'}", Seen(CLASSES), "cpu")


@pytest.mark.slow  # two processes that import Keras and torch
def test_keras_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    path = tmp_path / "net.keras"
    make = (
        "import sys, keras; m = keras.Sequential([keras.Input((32, 32, 1)), "
        "keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation='softmax')]); "
        "m.save(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", make, str(path)], check=True)
    subject = load_any(str(path), Seen(CLASSES))
    assert subject.input_size == 32
    first, again = subject.logits(VIEWS), subject.logits(VIEWS)
    assert np.exp(first).sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert np.array_equal(first, again)
    path.write_bytes(b"no model")
    with pytest.raises(WeightsError, match="the process with Keras ended"):
        load_any(str(path), Seen(CLASSES))


def test_scikit_learn_by_skops_and_never_by_pickle(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    from sklearn.linear_model import LogisticRegression

    rows = VIEWS.reshape(3, -1).astype(np.float32) / 255
    model = LogisticRegression().fit(rows, ["sick", "well", "sick"])
    skops.dump(model, tmp_path / "model.skops")
    subject = load_any(str(tmp_path / "model.skops"))
    assert subject.classes == CLASSES
    assert np.exp(subject.logits(VIEWS)) == pytest.approx(model.predict_proba(rows), abs=1e-5)
    (tmp_path / "model.joblib").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"a pickle runs whatever code it holds.*skops.io.dump"):
        load_any(str(tmp_path / "model.joblib"))


def test_hugging_face_from_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.ResNetConfig(
        num_channels=3, embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=2,
        id2label={0: "sick", 1: "well"}, label2id={"sick": 0, "well": 1},
    )  # fmt: skip
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"size": {"shortest_edge": 32}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}'
    )
    subject = load_any(f"hf:{tmp_path}", device="cpu")
    assert (subject.classes, subject.input_size) == (CLASSES, 32)
    assert subject.logits(VIEWS).shape == (3, 2)
    with pytest.raises(WeightsError, match=r"no config.json"):
        load_any(f"hf:{tmp_path / 'none'}")


def test_torchxrayvision_one_finding_against_its_absence(tmp_path: Path) -> None:
    xrv = pytest.importorskip("torchxrayvision", reason="torchxrayvision is not installed")
    model = xrv.models.DenseNet(weights=None)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    subject = load_any(f"xrv:Lung Opacity={tmp_path / 'net.pt'}", Seen(("Lung_Opacity", "Normal")), "cpu")
    assert subject.classes == ("Lung_Opacity", "Normal")
    views = np.full((1, 224, 224), 128, np.uint8)
    model.eval()
    with torch.inference_mode():
        own = model(torch.full((1, 1, 224, 224), (128 / 255 - 0.5) * 2048))
    place = xrv.datasets.default_pathologies.index("Lung Opacity")
    assert subject.logits(views)[0, 0] == pytest.approx(float(own[0, place]), abs=1e-3)
    with pytest.raises(OptionError, match="knows no 'Gout'"):
        load_any(f"xrv:Gout={tmp_path / 'net.pt'}", Seen(("a", "b")), "cpu")
