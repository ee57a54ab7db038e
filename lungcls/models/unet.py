"""Stage 1: the U-Net of segmentation-models-pytorch, for one grey channel and one class."""

from __future__ import annotations

from collections.abc import Sequence

import segmentation_models_pytorch as smp
from torch import nn

from lungcls.errors import OptionError


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
        leave out the stages beyond `encoder_depth`, which halves a ResNet18's file.
    encoder_depth : int, default=4
        Number of halvings; input sides must be multiples of ``2 ** encoder_depth``.
    decoder_channels : sequence of int, one a depth
    pretrained : {"none", "imagenet"}, default="none"
        ``imagenet`` downloads the encoder's weights.

    Returns
    -------
    torch.nn.Module
        float32 [B, 1, H, W] to logits [B, 1, H, W].

    Raises
    ------
    ValueError
        If `pretrained` is unknown, or the library does not know the encoder.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.
    """
    if pretrained not in ("none", "imagenet"):
        raise OptionError(f"pretrained is {pretrained!r}; expected 'none' or 'imagenet'")
    try:
        model: nn.Module = smp.Unet(
            encoder,
            encoder_depth=encoder_depth,
            encoder_weights=None if pretrained == "none" else pretrained,
            decoder_channels=tuple(decoder_channels),
            in_channels=1,
            classes=1,
        )
    # The library raises KeyError for its own encoders, timm RuntimeError for those that start with "tu-".
    except (KeyError, RuntimeError) as error:
        raise OptionError(f"unknown U-Net encoder {encoder!r}: {error}") from error
    return model
