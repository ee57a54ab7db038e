from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.error import URLError

import pytest
import torch

from lungcls.errors import WeightsError
from lungcls.models import create_model
from lungcls.models.pretrained import PretrainedError
from lungcls.weights import save_weights

SaveUnet: TypeAlias = Callable[[dict[str, Any], dict[str, torch.Tensor]], Path]
SMALL = {"model": "cnn-vgg-bn", "size": 16, "classes": 4}


@pytest.fixture
def weights(tmp_path: Path, make_card_values: Any) -> Path:
    torch.manual_seed(0)
    values = make_card_values(name="start", architecture=SMALL, input_size=16)
    return save_weights(tmp_path, create_model(SMALL).state_dict(), **values)


@pytest.fixture
def save_unet(tmp_path: Path, make_card_values: Any) -> SaveUnet:
    def save(unet: dict[str, Any], state: dict[str, torch.Tensor]) -> Path:
        values = make_card_values(
            name="lungs",
            task="segmentation",
            architecture=unet,
            region=None,
            classes=("lung",),
            thresholds={"mask": 0.5},
        )
        return save_weights(tmp_path, state, **values)

    return save


def test_a_network_starts_from_a_weight_file_but_for_its_head(weights: Path) -> None:
    first = create_model({**SMALL, "pretrained": str(weights)}).state_dict()
    other = create_model({**SMALL, "classes": 3, "pretrained": str(weights)}).state_dict()
    shared = [key for key in first if "classifier" not in key]
    assert all(torch.equal(first[key], other[key]) for key in shared)
    assert other["network.classifier.1.weight"].shape == (3, first["network.classifier.1.weight"].shape[1])


def test_weights_of_another_network_are_refused(weights: Path) -> None:
    with pytest.raises(PretrainedError, match="start from weights of the same architecture"):
        create_model({"model": "cnn-4conv", "size": 64, "pretrained": str(weights)})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.safetensors: no such weight file"):
        create_model({**SMALL, "pretrained": str(tmp_path / "none.safetensors")})


def test_imagenet_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*arguments: Any, **options: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(
        WeightsError, match=r"mobilenet_v2: the ImageNet weights cannot be downloaded.*pretrained"
    ):
        create_model({"model": "mobilenet-v2", "pretrained": "imagenet"})


def test_a_classifier_starts_from_the_encoder_of_a_unet(save_unet: SaveUnet) -> None:
    unet = {"model": "unet", "encoder": "densenet121", "encoder_depth": 5, "decoder_channels": [8] * 5}
    encoder = create_model(unet).state_dict()
    path = save_unet(unet, encoder)
    started = create_model({"model": "densenet121", "classes": 4, "pretrained": str(path)}).state_dict()
    key = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(started[key], encoder[f"encoder.{key}"].to(torch.float16).to(torch.float32))


def test_a_deeper_unet_begins_as_the_one_that_it_grows_from(save_unet: SaveUnet) -> None:
    unet = {"model": "unet", "encoder": "tu-resnet18", "encoder_depth": 3, "decoder_channels": [8] * 3}
    path = save_unet(unet, create_model(unet).state_dict())
    small = create_model({**unet, "pretrained": str(path)}).eval()
    deep = create_model({**unet, "encoder": "tu-resnet34", "pretrained": str(path)}).eval()
    assert len(deep.state_dict()) > len(small.state_dict())
    views = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(deep(views), small(views))


def test_a_deeper_network_with_random_new_layers_is_refused(tmp_path: Path, make_card_values: Any) -> None:
    resnet = {"model": "resnet50", "classes": 4}
    values = make_card_values(name="start", architecture=resnet)
    path = save_weights(tmp_path, create_model(resnet).state_dict(), **values)
    with pytest.raises(PretrainedError, match="start from weights of the same architecture"):
        create_model({**resnet, "model": "resnet101", "pretrained": str(path)})
