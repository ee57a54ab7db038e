"""The quality gate's network: small enough to cost nothing beside the two stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lungcls.errors import OptionError


class GateNet(nn.Module):
    """Four strided convolutions and two dense layers over a whole image of 64 pixels.

    The dense layers keep places apart, where pooling would not: what is upright, whole and frontal is a
    matter of where things are.

    Parameters
    ----------
    classes : int
    channels : sequence of four int
    hidden : int
        Width of the last layer but one, whose values are the image's features.
    size : int
        Side of the input, in pixels; a multiple of 16.
    """

    centre: Tensor
    whiten: Tensor

    def __init__(self, classes: int, channels: Sequence[int], hidden: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for after in channels:
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
            before = after
        places = (size // 2 ** len(channels)) ** 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * places, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, classes)
        self.register_buffer("centre", torch.zeros(hidden))
        self.register_buffer("whiten", torch.zeros(hidden, hidden))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the logits, and last the distance of the features from those of frontal films."""
        features = self.body(batch)
        away = (features - self.centre) @ self.whiten
        return torch.cat([self.head(features), away.square().mean(1, keepdim=True)], 1)


def gate_network(
    classes: int,
    channels: Sequence[int] = (8, 16, 32, 48),
    hidden: int = 48,
    size: int = 64,
) -> nn.Module:
    """Build the quality gate's network.

    Parameters
    ----------
    classes : int
    channels : sequence of int, default=(8, 16, 32, 48)
        Of the convolutions, each of which halves the sides.
    hidden : int, default=48
    size : int, default=64
        Side of the input, in pixels.

    Returns
    -------
    torch.nn.Module
        float32 [B, 1, size, size] to [B, classes + 1]: the logits, and the squared Mahalanobis distance (over
        its number of dimensions) of the features from those of upright frontal films [1]_; 0 before it is
        fitted.

    Raises
    ------
    ValueError
        If the size is not a multiple of what the convolutions halve.

    References
    ----------
    .. [1] Lee, Lee, Lee, Shin: A Simple Unified Framework for Detecting Out-of-Distribution Samples, 2018.
    """
    if size % 2 ** len(channels):
        raise OptionError(f"size is {size}; expected a multiple of {2 ** len(channels)}")
    return GateNet(classes, tuple(channels), hidden, size)
