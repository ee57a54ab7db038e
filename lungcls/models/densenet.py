"""DenseNets of any width and depth, for small views; those of the paper are in `backbones`."""

from __future__ import annotations

from collections.abc import Sequence

import torchvision
from torch import nn

from lungcls.errors import OptionError
from lungcls.labels import CLASSES
from lungcls.models.channels import fold_stem


def densenet(
    growth: int = 12,
    blocks: Sequence[int] = (4, 8, 8, 6),
    stem: int = 24,
    classes: int = len(CLASSES),
    dropout: float = 0.0,
) -> nn.Module:
    """Build a DenseNet of any width and depth for grey images, for small views and small budgets.

    Parameters
    ----------
    growth : int, default=12
        Channels that each layer adds (32 in DenseNet121).
    blocks : sequence of int, default=(4, 8, 8, 6)
        Layers of each dense block ((6, 12, 24, 16) in DenseNet121).
    stem : int, default=24
        Channels of the first convolution (64 in DenseNet121).
    classes : int, default=4
    dropout : float, default=0.0
        Probability of dropping a pooled feature before the last layer.

    Returns
    -------
    torch.nn.Module
        float32 [B, 1, H, W] to logits [B, classes].

    Raises
    ------
    OptionError
        If a number of layers or channels is below 1.
    """
    if min(growth, stem, classes, *blocks) < 1:
        raise OptionError(f"growth={growth}, stem={stem}, blocks={tuple(blocks)}: expected numbers above 0")
    model = torchvision.models.DenseNet(growth, tuple(blocks), stem, num_classes=classes)
    model.features.conv0 = fold_stem(model.features.conv0)
    if dropout:
        model.classifier = nn.Sequential(nn.Dropout(dropout), model.classifier)
    network: nn.Module = model
    return network
