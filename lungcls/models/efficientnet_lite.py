"""EfficientNet-Lite 0, 1 and 2, by timm: small, without squeeze-and-excitation, fast on a CPU."""

from __future__ import annotations

import timm
from torch import nn

from lungcls.models.channels import RepeatChannels, check_channels, check_classes, grey_stem
from lungcls.models.imagenet import lite_name, load_lite


def efficientnet_lite(
    variant: int, classes: int = 4, channels: int = 1, pretrained: str = "none", dropout: float = 0.2
) -> nn.Module:
    """Build an EfficientNet-Lite.

    Parameters
    ----------
    variant : {0, 1, 2}
    classes : int, default=4
    channels : {1, 3}, default=1
        1 folds the colour stem, exactly (:func:`lungcls.models.channels.fold_stem`); 3 repeats the view.
    pretrained : {"none", "imagenet"}, default="none"
        As :func:`lungcls.models.imagenet.load_lite`, but for the last layer. Pixels are then normalised with
        mean 0.5 and standard deviation 0.5.
    dropout : float, default=0.2
        Probability of dropping a feature before the last layer.

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
    Tan, Le: EfficientNet, 2019. Liu: Higher accuracy on vision models with EfficientNet-Lite, TensorFlow
    blog, 2020.
    """
    check_channels(channels)
    check_classes(classes)
    network: nn.Module = timm.create_model(lite_name(variant), num_classes=classes, drop_rate=dropout)
    if pretrained == "imagenet":
        load_lite(network, variant)
    if channels == 3:
        return RepeatChannels(network)
    grey_stem(network)
    return network
