"""torchvision's classification networks, with a head for our classes and for grey views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.error import URLError

import torchvision
from torch import nn

from lungcls.errors import OptionError, WeightsError
from lungcls.models.channels import RepeatChannels, check_channels, fold_stem

# Ours, torchvision's, and its enumeration of weights.
_TORCHVISION: Final = {
    "mobilenet-v2": ("mobilenet_v2", "MobileNet_V2_Weights"),
    "mobilenet-v3-small": ("mobilenet_v3_small", "MobileNet_V3_Small_Weights"),
    "efficientnet-b0": ("efficientnet_b0", "EfficientNet_B0_Weights"),
    "vgg16": ("vgg16", "VGG16_Weights"),
    "resnet50": ("resnet50", "ResNet50_Weights"),
    "resnet101": ("resnet101", "ResNet101_Weights"),
    "densenet121": ("densenet121", "DenseNet121_Weights"),
    "densenet169": ("densenet169", "DenseNet169_Weights"),
    "densenet201": ("densenet201", "DenseNet201_Weights"),
}
_DROPOUT: Final[Mapping[str, float]] = {
    "mobilenet-v2": 0.5,
    "mobilenet-v3-small": 0.2,
    "efficientnet-b0": 0.2,
}
NAMES: Final = tuple(_TORCHVISION)


def backbone(
    name: str,
    classes: int = 4,
    channels: int | None = None,
    pretrained: str = "none",
    dropout: float | None = None,
) -> nn.Module:
    """Build one of torchvision's networks.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`.
    classes : int, default=4
    channels : {1, 3}, optional
        3 repeats the grey view; 1 gives the network a grey stem, which is a colour stem folded
        (:func:`lungcls.models.channels.fold_stem`). By default 3, but 1 for ``densenet121``, as in the
        released weights.
    pretrained : {"none", "imagenet"}, default="none"
        ``imagenet`` downloads torchvision's weights, but for the last layer.
    dropout : float, optional
        Probability of dropping a feature before the last layer. By default 0.5 for ``mobilenet-v2`` and the
        network's own for the others.

    Returns
    -------
    torch.nn.Module
        float32 [B, 1, H, W] to logits [B, classes].

    Raises
    ------
    ValueError
        If an option is impossible.
    WeightsError
        If ImageNet's weights cannot be had.

    References
    ----------
    Sandler et al.: MobileNetV2, 2018. Howard et al.: Searching for MobileNetV3, 2019. Tan, Le: EfficientNet,
    2019. Simonyan, Zisserman: Very Deep Convolutional Networks, 2014. He et al.: Deep Residual Learning,
    2015. Huang et al.: Densely Connected Convolutional Networks, 2017.
    """
    channels = (1 if name == "densenet121" else 3) if channels is None else channels
    check_channels(channels)
    if pretrained not in ("none", "imagenet"):
        raise OptionError(f"pretrained is {pretrained!r}; expected 'none' or 'imagenet'")
    if not isinstance(classes, int) or classes < 2:
        raise OptionError(f"classes is {classes!r}; expected at least 2")
    dropout = _DROPOUT.get(name, 0.0) if dropout is None else dropout
    network = _build(name, pretrained)
    if channels == 1:
        _grey_stem(network)
    _new_head(network, classes, dropout)
    return network if channels == 1 else RepeatChannels(network)


def _build(name: str, pretrained: str) -> nn.Module:
    function, enumeration = _TORCHVISION[name]
    build = getattr(torchvision.models, function)
    # The first weights that torchvision released, trained by the recipes of the networks' papers.
    weights = getattr(torchvision.models, enumeration).IMAGENET1K_V1 if pretrained == "imagenet" else None
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


def _grey_stem(network: nn.Module) -> None:
    """Replace the first convolution, wherever it stands."""
    path, conv = next((path, part) for path, part in network.named_modules() if isinstance(part, nn.Conv2d))
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, fold_stem(conv))


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
