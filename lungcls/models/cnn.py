"""Small convolutional networks of earlier projects, layer by layer as they are described."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lungcls.errors import OptionError
from lungcls.models.channels import RepeatChannels, check_channels, check_classes


class FlatCNN(nn.Module):
    """Convolutions, and a classifier on their flattened output.

    Parameters
    ----------
    features, classifier : torch.nn.Sequential
    """

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, views: Tensor) -> Tensor:
        """Map float32 [B, channels, size, size] to logits [B, classes]."""
        logits: Tensor = self.classifier(self.features(views))
        return logits


class TwoLogits(nn.Module):
    """Make two logits of one: ``[0, z]``, whose softmax is ``[1 - sigmoid(z), sigmoid(z)]``.

    A network with a single output for "the second class" thus answers like any other.
    """

    def forward(self, logit: Tensor) -> Tensor:
        """Map logits [B, 1] to [B, 2]."""
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def cnn_4conv(classes: int = 4, channels: int = 3, size: int = 299) -> nn.Module:
    """Four valid 3x3 convolutions, each with ReLU and pooling, and one hidden layer.

    Parameters
    ----------
    classes : int, default=4
    channels : {1, 3}, default=3
    size : int, default=299
        Side of the input, in pixels.

    Returns
    -------
    torch.nn.Module
        float32 [B, 1, size, size] to logits [B, classes].

    Raises
    ------
    OptionError
        If the input is too small for the layers, or an option is impossible.
    """
    layers: list[nn.Module] = []
    for width, following in _pairs(channels, (32, 64, 128, 256)):
        layers += [nn.Conv2d(width, following, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return _flat(
        layers,
        lambda flat: [nn.Linear(flat, 256), nn.ReLU(), nn.Linear(256, classes)],
        channels, size, classes,
    )  # fmt: skip


def cnn_strided(classes: int = 2, channels: int = 3, size: int = 256) -> nn.Module:
    """Two 3x3 convolutions of stride 3 with pooling and dropout, and one hidden layer.

    Parameters, result and errors as :func:`cnn_4conv`; `classes` is 2 and `size` 256 by default. Two classes
    come out of one logit (:class:`TwoLogits`), more out of one each.
    """
    layers: list[nn.Module] = []
    for width, following in _pairs(channels, (64, 32)):
        layers += [nn.Conv2d(width, following, 3, stride=3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)]

    def head(flat: int) -> list[nn.Module]:
        hidden: list[nn.Module] = [nn.Linear(flat, 256), nn.ReLU()]
        if classes == 2:
            return [*hidden, nn.Linear(256, 1), TwoLogits()]
        return [*hidden, nn.Linear(256, classes)]

    return _flat(layers, head, channels, size, classes)


def cnn_vgg_bn(classes: int = 3, channels: int = 3, size: int = 256) -> nn.Module:
    """Three pairs of 3x3 convolutions with batch norm after the ReLU, and no hidden layer.

    Parameters, result and errors as :func:`cnn_4conv`; `classes` is 3 and `size` 256 by default.
    """
    layers: list[nn.Module] = []
    for (width, following), dropout in zip(_pairs(channels, (32, 64, 128)), (0.2, 0.3, 0.4)):
        for inputs in (width, following):
            layers += [nn.Conv2d(inputs, following, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(following)]
        layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
    return _flat(layers, lambda flat: [nn.Linear(flat, classes)], channels, size, classes)


def cnn_3conv_512(classes: int = 4, channels: int = 3, size: int = 224) -> nn.Module:
    """Three valid 3x3 convolutions, each with ReLU and pooling, and a hidden layer of 512 with dropout.

    Parameters, result and errors as :func:`cnn_4conv`; `size` is 224 by default.
    """
    layers: list[nn.Module] = []
    for width, following in _pairs(channels, (64, 128, 256)):
        layers += [nn.Conv2d(width, following, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return _flat(
        layers,
        lambda flat: [nn.Linear(flat, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, classes)],
        channels, size, classes,
    )  # fmt: skip


def _pairs(channels: int, widths: Sequence[int]) -> list[tuple[int, int]]:
    check_channels(channels)
    return list(zip([channels, *widths], widths))


def _flat(
    layers: Sequence[nn.Module],
    head: Callable[[int], Sequence[nn.Module]],
    channels: int,
    size: int,
    classes: int,
) -> nn.Module:
    check_classes(classes)
    features = nn.Sequential(*layers)
    flat = _flattened(features, channels, size)
    network = FlatCNN(features, nn.Sequential(nn.Flatten(), *head(flat)))
    return RepeatChannels(network) if channels == 3 else network


def _flattened(features: nn.Sequential, channels: int, size: int) -> int:
    """Count the features of one image without computing them."""
    height = size
    width = channels
    for layer in features:
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
            kernel, stride, padding = (_int(getattr(layer, n)) for n in ("kernel_size", "stride", "padding"))
            height = (height + 2 * padding - kernel) // stride + 1
            width = layer.out_channels if isinstance(layer, nn.Conv2d) else width
            if height < 1:
                raise OptionError(
                    f"an input of {size} pixels is too small for this network; give a larger one"
                )
    return width * height * height


def _int(value: int | tuple[int, ...] | str) -> int:
    return int(value[0] if isinstance(value, tuple) else value)
