"""Every network by name: its layers, shapes and parameters as its description says. Nothing is computed."""

from __future__ import annotations

import pytest

from lungcls.models.catalog import MODELS
from lungcls.models.summary import summarise

# As the descriptions of the reference networks state them, buffers aside.
PARAMETERS = {
    "cnn-4conv": 17_166_916,
    "cnn-strided": 422_177,
    "cnn-vgg-bn": 681_123,
    "cnn-3conv-512": 88_978_052,
    "mobilenet-v2": 2_228_996,
}
FLATTENED = {"cnn-4conv": 65_536, "cnn-strided": 1_568, "cnn-vgg-bn": 131_072, "cnn-3conv-512": 173_056}


@pytest.mark.parametrize("name", MODELS)
def test_layers_sum_to_the_stated_parameters(name: str) -> None:
    info = MODELS[name]
    layers = summarise({"model": name}, info.size)
    assert (
        sum(layer.parameters for layer in layers) == info.parameters == PARAMETERS.get(name, info.parameters)
    )
    assert layers[-1].output == (info.classes,)
    assert info.input == [info.channels, info.size, info.size]


@pytest.mark.parametrize(("name", "size"), FLATTENED.items())
def test_the_flattened_feature_map(name: str, size: int) -> None:
    layers = summarise({"model": name}, MODELS[name].size)
    assert next(layer.output for layer in layers if layer.kind == "Flatten") == (size,)


def test_the_convolutions_of_the_strided_network() -> None:
    shapes = [one.output for one in summarise({"model": "cnn-strided"}, 256) if one.kind == "Conv2d"]
    assert shapes == [(64, 85, 85), (32, 14, 14)]


def test_the_order_of_layers_after_a_padded_convolution() -> None:
    kinds = [layer.kind for layer in summarise({"model": "cnn-vgg-bn"}, 256)]
    assert kinds[:8] == ["Conv2d", "ReLU", "BatchNorm2d"] * 2 + ["MaxPool2d", "Dropout"]


def test_the_head_of_mobilenet() -> None:
    last = summarise({"model": "mobilenet-v2"}, 224)[-1]
    assert last.parameters == 5_124


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("resnet101", "densenet201")])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_heads_for_two_three_and_four_classes(name: str, classes: int) -> None:
    assert summarise({"model": name, "classes": classes}, MODELS[name].size)[-1].output == (classes,)


def test_a_size_that_a_network_was_not_built_for() -> None:
    with pytest.raises(ValueError, match="cnn-4conv cannot run on 224 pixels"):
        summarise({"model": "cnn-4conv"}, 224)
    assert summarise({"model": "cnn-4conv", "size": 224}, 224)[-1].output == (4,)
