"""Stage 2: torchvision's DenseNet121 with one input channel."""

from __future__ import annotations

import torchvision
from torch import nn

from lungcls.labels import CLASSES


def densenet121(classes: int = len(CLASSES), pretrained: str = "none", dropout: float = 0.0) -> nn.Module:
    """Build a DenseNet121 for grey images.

    Parameters
    ----------
    classes : int, default=4
    pretrained : {"none", "imagenet"}, default="none"
        ``imagenet`` downloads torchvision's weights and folds their RGB stem (:func:`fold_stem`).
    dropout : float, default=0.0
        Probability of dropping a pooled feature before the last layer.

    Returns
    -------
    torch.nn.Module
        float32 [B, 1, H, W] to logits [B, classes].

    Raises
    ------
    ValueError
        If `pretrained` is unknown.

    References
    ----------
    Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, 2017.
    """
    if pretrained not in ("none", "imagenet"):
        raise ValueError(f"pretrained is {pretrained!r}; expected 'none' or 'imagenet'")
    weights = None if pretrained == "none" else torchvision.models.DenseNet121_Weights.IMAGENET1K_V1
    model = torchvision.models.densenet121(weights=weights)
    model.features.conv0 = fold_stem(model.features.conv0)
    linear = nn.Linear(model.classifier.in_features, classes)
    model.classifier = nn.Sequential(nn.Dropout(dropout), linear) if dropout else linear
    network: nn.Module = model
    return network


def fold_stem(conv: nn.Conv2d) -> nn.Conv2d:
    """Fold a convolution over three equal channels into one over a single channel.

    A grey image repeated in three channels, all normalised by one mean and one standard deviation, gives
    ``sum_c(w_c * x) = (sum_c w_c) * x``: summing the kernels over the channels is exact, borders included.

    Parameters
    ----------
    conv : torch.nn.Conv2d
        With kernels [out, 3, h, w], without bias.

    Returns
    -------
    torch.nn.Conv2d
        With kernels [out, 1, h, w].
    """
    folded = nn.Conv2d(1, conv.out_channels, 1, bias=False)
    folded.kernel_size, folded.stride, folded.padding = conv.kernel_size, conv.stride, conv.padding
    folded.weight = nn.Parameter(conv.weight.detach().sum(dim=1, keepdim=True))
    return folded
