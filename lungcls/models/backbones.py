"""torchvision's classification networks, with a head for our classes and for grey views."""

from __future__ import annotations

from typing import Any
from urllib.error import URLError

import torchvision
from torch import nn

from lungcls.errors import WeightsError
from lungcls.models.channels import RepeatChannels, check_channels, check_classes, grey_stem


def backbone(
    network: str,
    classes: int = 4,
    channels: int = 3,
    pretrained: str = "none",
    dropout: float = 0.0,
) -> nn.Module:
    """Build one of torchvision's networks.

    Parameters
    ----------
    network : str
        torchvision's name of it.
    classes : int, default=4
    channels : {1, 3}, default=3
        3 repeats the grey view; 1 gives the network a grey stem, which is a colour stem folded
        (:func:`lungcls.models.channels.fold_stem`).
    pretrained : {"none", "imagenet"}, default="none"
        ``imagenet`` downloads torchvision's weights, but for the last layer.
    dropout : float, default=0.0
        Probability of dropping a feature before the last layer; 0 leaves what dropout the network has.

    Returns
    -------
    torch.nn.Module
        float32 [B, 1, H, W] to logits [B, classes].

    Raises
    ------
    OptionError
        If an option is impossible.
    WeightsError
        If ImageNet's weights cannot be had.

    References
    ----------
    Sandler et al.: MobileNetV2, 2018. Howard et al.: Searching for MobileNetV3, 2019. Tan, Le: EfficientNet,
    2019. Simonyan, Zisserman: Very Deep Convolutional Networks, 2014. He et al.: Deep Residual Learning,
    2015. Huang et al.: Densely Connected Convolutional Networks, 2017.
    """
    check_channels(channels)
    check_classes(classes)
    built = _build(network, pretrained)
    if channels == 1:
        grey_stem(built)
    _new_head(built, classes, dropout)
    return built if channels == 1 else RepeatChannels(built)


def _build(name: str, pretrained: str) -> nn.Module:
    build = getattr(torchvision.models, name)
    # The first weights that torchvision released, trained by the recipes of the networks' papers.
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1 if pretrained == "imagenet" else None
    try:
        network: nn.Module = build(weights=weights)
    except (URLError, OSError, RuntimeError) as error:
        if weights is None:
            raise
        raise WeightsError(
            f"{name}: the ImageNet weights cannot be downloaded from {weights.url} ({error}); go online "
            "once, put the file into torch's cache (torch.hub.get_dir(), folder 'checkpoints'), or give "
            "pretrained = 'none' or a lungcls weight file"
        ) from error
    return network


def _new_head(network: Any, classes: int, dropout: float) -> None:
    """Replace the last linear layer, and the dropout before it."""
    if hasattr(network, "fc"):
        network.fc = _last(network.fc, classes, dropout)
    elif isinstance(network.classifier, nn.Linear):
        network.classifier = _last(network.classifier, classes, dropout)
    else:
        layers = list(network.classifier)
        if dropout:
            layers = [nn.Dropout(dropout) if isinstance(layer, nn.Dropout) else layer for layer in layers]
        layers[-1] = nn.Linear(layers[-1].in_features, classes)
        network.classifier = nn.Sequential(*layers)


def _last(linear: nn.Linear, classes: int, dropout: float) -> nn.Module:
    new = nn.Linear(linear.in_features, classes)
    return nn.Sequential(nn.Dropout(dropout), new) if dropout else new
