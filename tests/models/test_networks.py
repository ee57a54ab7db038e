"""Every network by name: one tester for all, inherited by each. Most of it runs on shapes alone."""

from __future__ import annotations

import inspect
import sys
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from lungcls.errors import OptionError
from lungcls.models import MODELS, create_model
from lungcls.models.channels import RepeatChannels
from lungcls.models.layers import head, layers
from lungcls.models.summary import Layer, summarise


class NetworkTester:
    """What holds for every classification network."""

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    # As the description of a reference network states them, buffers aside.
    parameters: ClassVar[int | None] = None
    flattened: ClassVar[int | None] = None
    small: ClassVar[int] = 64

    def layers(self, **options: Any) -> list[Layer]:
        spec = MODELS[self.name]
        return summarise({"model": self.name, **self.options, **options}, options.get("size", spec.size))

    def network(self, **options: Any) -> nn.Module:
        with torch.device("meta"):
            return create_model({"model": self.name, **self.options, **options})

    def test_it_says_what_it_is(self) -> None:
        spec = MODELS[self.name]
        assert spec.name == self.name
        assert spec.description
        assert spec.task == "classification"
        assert spec.input == [spec.channels, spec.size, spec.size]

    def test_parameters_are_counted(self) -> None:
        counted = MODELS[self.name].parameters
        assert sum(layer.parameters for layer in self.layers()) == counted
        assert self.parameters in (None, counted)

    def test_channels_are_as_said(self) -> None:
        first = next(part for part in self.network().modules() if isinstance(part, nn.Conv2d))
        assert first.in_channels == MODELS[self.name].channels

    @pytest.mark.parametrize("classes", [2, 3, 4])
    def test_heads(self, classes: int) -> None:
        assert self.layers(classes=classes)[-1].output == (classes,)

    def test_the_head_is_part_of_it_and_not_all(self) -> None:
        network = self.network(classes=3)
        parts = head(network)
        assert 0 < len(parts) < len(layers(network))
        assert parts[-1] is layers(network)[-1]

    def test_grey_and_colour_stems(self) -> None:
        if "channels" not in inspect.signature(MODELS[self.name].builder()).parameters:
            pytest.skip("it takes one grey channel and no other number")
        assert isinstance(self.network(channels=3), RepeatChannels)
        assert not isinstance(self.network(channels=1), RepeatChannels)
        with pytest.raises(OptionError, match="channels is 2"):
            self.network(channels=2)

    def test_sizes(self) -> None:
        network = self.network(**({"size": self.small} if MODELS[self.name].fixed_size else {})).eval()
        views = torch.empty(2, 1, self.small, self.small, device="meta")
        assert network(views).shape[0] == 2
        larger = torch.empty(2, 1, self.small + 40, self.small + 40, device="meta")
        if MODELS[self.name].fixed_size:
            with pytest.raises(RuntimeError, match=r"shape|reduction dim"):
                network(larger)
        else:
            assert network(larger).shape[0] == 2

    def test_what_does_not_fit_is_named(self) -> None:
        with pytest.raises(OptionError, match=rf"do not fit the model '{self.name}'.*colour"):
            self.network(colour="red")
        with pytest.raises(OptionError, match=rf"{self.name} can start from 'none'.*lungcls weight file"):
            self.network(pretrained="radimagenet")

    def test_the_flattened_feature_map(self) -> None:
        if self.flattened is None:
            return
        assert next(one.output for one in self.layers() if one.kind == "Flatten") == (self.flattened,)


class TestCnn4Conv(NetworkTester):
    name = "cnn-4conv"
    parameters = 17_166_916
    flattened = 65_536


class TestCnnStrided(NetworkTester):
    name = "cnn-strided"
    parameters = 422_177
    flattened = 1_568

    def test_its_convolutions(self) -> None:
        assert [one.output for one in self.layers() if one.kind == "Conv2d"] == [(64, 85, 85), (32, 14, 14)]


class TestCnnVggBn(NetworkTester):
    name = "cnn-vgg-bn"
    parameters = 681_123
    flattened = 131_072

    def test_the_order_of_layers_after_a_padded_convolution(self) -> None:
        kinds = [layer.kind for layer in self.layers()]
        assert kinds[:8] == ["Conv2d", "ReLU", "BatchNorm2d"] * 2 + ["MaxPool2d", "Dropout"]


class TestCnn3Conv512(NetworkTester):
    name = "cnn-3conv-512"
    parameters = 88_978_052
    flattened = 173_056


class TestMobileNetV2(NetworkTester):
    name = "mobilenet-v2"
    parameters = 2_228_996

    def test_its_head(self) -> None:
        assert self.layers()[-1].parameters == 5_124


class TestMobileNetV3Small(NetworkTester):
    name = "mobilenet-v3-small"


class TestEfficientNetB0(NetworkTester):
    name = "efficientnet-b0"


class TestVgg16(NetworkTester):
    name = "vgg16"


class TestResNet50(NetworkTester):
    name = "resnet50"


class TestResNet101(NetworkTester):
    name = "resnet101"


class TestDenseNet121(NetworkTester):
    name = "densenet121"


class TestDenseNet169(NetworkTester):
    name = "densenet169"


class TestDenseNet201(NetworkTester):
    name = "densenet201"


class TestEfficientNetLite0(NetworkTester):
    name = "efficientnet-lite0"


class TestEfficientNetLite1(NetworkTester):
    name = "efficientnet-lite1"


class TestEfficientNetLite2(NetworkTester):
    name = "efficientnet-lite2"


class TestDenseNet(NetworkTester):
    name = "densenet"


def test_every_network_has_its_tester() -> None:
    testers = {value.name for key, value in vars(sys.modules[__name__]).items() if key.startswith("Test")}
    assert testers == {spec.name for spec in MODELS.values() if spec.task == "classification"}


def test_a_size_that_is_too_small_is_named() -> None:
    with pytest.raises(OptionError, match="mobilenet-v2 cannot run on 0 pixels"):
        summarise({"model": "mobilenet-v2"}, 0)
