from __future__ import annotations

import pytest
from torch import nn

from lungcls.models import create_model
from lungcls.models.layers import head, layers

HEADS = {"mobilenet-v2": 1, "resnet50": 1, "densenet121": 1, "cnn-3conv-512": 2, "mobilenet-v3-small": 2}


@pytest.mark.parametrize(("name", "count"), HEADS.items())
def test_the_head_is_the_last_layers(name: str, count: int) -> None:
    network = create_model({"model": name})
    assert layers(network)[-count:] == head(network)
    assert all(isinstance(layer, nn.Linear) for layer in head(network))


def test_layers_hold_all_parameters_once() -> None:
    network = create_model({"model": "mobilenet-v2"})
    counted = sum(value.numel() for layer in layers(network) for value in layer.parameters(recurse=False))
    assert counted == sum(value.numel() for value in network.parameters())


def test_the_head_of_a_segmenter_is_all_but_its_encoder() -> None:
    network = create_model({"model": "unet", "encoder": "tu-resnet18", "decoder_channels": [16, 16, 8, 8]})
    encoder = set(layers(network.encoder))
    assert head(network)
    assert not encoder & set(head(network))
    assert encoder | set(head(network)) == set(layers(network))
