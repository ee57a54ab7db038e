from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from lungcls.models import create_model
from lungcls.models.channels import fold_stem

UNET = {"model": "unet", "encoder": "tu-resnet18", "decoder_channels": [16, 16, 8, 8]}


def _logits(model: nn.Module, *shape: int) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(torch.rand(shape))


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 64),
        ({}, 48),
        ({"encoder_depth": 3, "decoder_channels": [16, 8, 8]}, 24),
        ({"encoder": "resnet18", "encoder_depth": 3, "decoder_channels": [16, 8, 8]}, 32),
    ],
)
def test_unet_gives_one_logit_a_pixel(options: dict[str, Any], size: int) -> None:
    logits = _logits(create_model({**UNET, **options}), 2, 1, size, size)
    assert logits.shape == (2, 1, size, size)
    # Logits and no probabilities: the loss and the threshold apply the sigmoid themselves.
    assert logits.min() < 0 or logits.max() > 1


def test_a_shallow_timm_encoder_leaves_out_its_last_stage() -> None:
    count = sum(value.numel() for value in create_model(UNET).parameters())
    assert count < 4e6  # a whole ResNet18 alone has 11 million


@pytest.mark.parametrize("classes", [4, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_densenet_gives_one_logit_a_class(classes: int, dropout: float) -> None:
    model = create_model({"model": "densenet121", "classes": classes, "dropout": dropout})
    assert _logits(model, 2, 1, 32, 32).shape == (2, classes)
    assert sum(isinstance(part, nn.Dropout) for part in model.modules()) == bool(dropout)


def test_the_folded_stem_is_exact() -> None:
    torch.manual_seed(0)
    colour = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False).double()
    grey = fold_stem(colour).double()
    assert grey.weight.shape == (8, 1, 7, 7)
    images = torch.rand(2, 1, 33, 32, dtype=torch.float64)
    expected = colour(images.expand(-1, 3, -1, -1))
    # Borders included: zero padding is the same in all channels.
    torch.testing.assert_close(fold_stem(colour).double()(images), expected, rtol=0, atol=1e-6)
    grey.weight.data = colour.weight.data.sum(1, keepdim=True)
    torch.testing.assert_close(grey(images), expected, rtol=0, atol=1e-12)


def test_pretrained_densenet_is_the_colour_network_on_a_grey_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ImageNet's weights, which are not downloaded here: a network of random weights stands in."""
    build = torchvision.models.densenet121
    torch.manual_seed(0)
    colour = build(weights=None).eval()
    asked = []

    def stand_in(*, weights: Any) -> nn.Module:
        asked.append(weights)
        model = build(weights=None)
        model.load_state_dict(colour.state_dict())
        return model

    monkeypatch.setattr(torchvision.models, "densenet121", stand_in)
    grey = create_model({"model": "densenet121", "pretrained": "imagenet"}).eval()
    assert asked == [torchvision.models.DenseNet121_Weights.IMAGENET1K_V1]
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        expected = colour.features(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.features(images), expected, rtol=1e-3, atol=1e-4)


def test_nothing_is_downloaded_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"a download was tried: {arguments}")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    create_model(UNET)
    create_model({"model": "densenet121"})


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({}, "unknown model None; the models are .*densenet121, .*unet"),
        ({"model": "vgg"}, "unknown model 'vgg'; the models are cnn-3conv-512, .*, vgg16"),
        ({"model": ["unet"]}, "unknown model"),
        ({"model": "unet", "depth": 3}, "do not fit the model 'unet'.*depth"),
        ({"model": "densenet121", "encoder": "tu-resnet18"}, "do not fit the model 'densenet121'.*encoder"),
        ({"model": "densenet121", "classes": "four"}, "classes is 'four'; expected at least 2"),
        ({"model": "densenet121", "pretrained": True}, "can start from 'none' or 'imagenet'"),
        ({**UNET, "pretrained": "radimagenet"}, "can start from 'none' or 'imagenet'"),
        ({**UNET, "encoder": "resnet19"}, "unknown U-Net encoder 'resnet19'"),
        ({**UNET, "encoder": "tu-resnet19"}, "unknown U-Net encoder 'tu-resnet19'"),
        ({**UNET, "decoder_channels": [16, 8]}, "decoder_channels"),
    ],
)
def test_what_cannot_be_built_is_named(architecture: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(architecture)


def test_the_architecture_is_left_alone() -> None:
    architecture = dict(UNET)
    create_model(architecture)
    assert architecture == UNET
