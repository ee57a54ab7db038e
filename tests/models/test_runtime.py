from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from lungcls.errors import WeightsError
from lungcls.models.runtime import load_network, normalise, resolve_device, run_network
from lungcls.weights import load_card, write_card

CPU = torch.device("cpu")


def test_auto_prefers_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device().type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device() == CPU


def test_devices_are_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' is not available here; use device='auto' or 'cpu'"):
        resolve_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="'cuda' is not available here"):
        resolve_device("cuda")
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "meta"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(ValueError, match=f"device '{device}'"):
        resolve_device(device)


def test_normalise() -> None:
    views = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    batch = normalise(views, mean=0.5, std=0.25)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch, torch.tensor([[[[-2.0, 2.0], [-1.2, -0.4]]]]))


def test_a_loaded_network_is_ready_for_inference(tiny_classifier: Path) -> None:
    card, network = load_network(tiny_classifier, "classification", CPU)
    assert card == load_card(tiny_classifier)
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_running_normalises_as_the_card_says(tiny_classifier: Path) -> None:
    card, network = load_network(tiny_classifier, "classification", CPU)
    views = np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8)
    logits = run_network(network, card, views, CPU)
    assert logits.shape == (2, 4)
    assert logits.dtype == torch.float32
    with torch.no_grad():
        expected = network((torch.from_numpy(views)[:, None] / 255 - card.mean) / card.std)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    other = run_network(network, replace(card, mean=0.4), views, CPU)
    assert not torch.allclose(logits, other)
    # Any memory layout is taken.
    torch.testing.assert_close(run_network(network, card, views[::-1][::-1], CPU), logits)


def _changed(weights: Path, folder: Path, **changes: Any) -> Path:
    path = Path(shutil.copy(weights, folder))
    write_card(path, replace(load_card(weights), **changes))
    return path


@pytest.mark.parametrize(
    "architecture",
    [
        {"model": "densenet121", "classes": 3},
        {"model": "densenet121", "dropout": 0.5},
        {"model": "unet"},
        {"model": "resnet18"},
        {"model": "densenet121", "depth": 121},
    ],
)
def test_weights_of_another_architecture_are_refused(
    tiny_classifier: Path, tmp_path: Path, architecture: dict[str, Any]
) -> None:
    path = _changed(tiny_classifier, tmp_path, architecture=architecture)
    with pytest.raises(WeightsError, match=r"tiny-classifier\.safetensors: .*card's architecture"):
        load_network(path, "classification", CPU)


def test_classes_and_outputs_must_be_as_many(tiny_classifier: Path, tmp_path: Path) -> None:
    path = _changed(tiny_classifier, tmp_path, classes=("ill", "well"))
    with pytest.raises(WeightsError, match=r"tiny-classifier\.safetensors: .*2 classes.*4 outputs"):
        load_network(path, "classification", CPU)


def test_loading_downloads_nothing(
    tiny_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = torchvision.models.densenet121
    asked = []

    def watched(*, weights: Any) -> Any:
        asked.append(weights)
        return build(weights=None)

    monkeypatch.setattr(torchvision.models, "densenet121", watched)
    architecture = {**load_card(tiny_classifier).architecture, "pretrained": "imagenet"}
    load_network(_changed(tiny_classifier, tmp_path, architecture=architecture), "classification", CPU)
    assert asked == [None]


def test_damaged_weights_are_refused(tiny_classifier: Path, tmp_path: Path) -> None:
    path = _changed(tiny_classifier, tmp_path)
    values = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**values, "sha256": "0" * 64}))
    with pytest.raises(WeightsError, match=r"tiny-classifier\.safetensors: SHA-256"):
        load_network(path, "classification", CPU)
