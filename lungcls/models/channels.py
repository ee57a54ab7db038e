"""One grey channel for networks that were made for three."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from lungcls.errors import OptionError

CHANNELS = (1, 3)


class RepeatChannels(nn.Module):
    """Repeat a grey view in three channels and run a colour network on it.

    Parameters
    ----------
    network : torch.nn.Module
        Takes float32 [B, 3, H, W].
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, views: Tensor) -> Tensor:
        """Map float32 [B, 1, H, W] to logits [B, classes]."""
        logits: Tensor = self.network(views.expand(-1, 3, -1, -1))
        return logits


def check_channels(channels: int) -> None:
    """Raise OptionError unless a network can be built for so many input channels."""
    if channels not in CHANNELS:
        raise OptionError(f"channels is {channels!r}; expected 1 (a grey stem) or 3 (the view repeated)")


def check_classes(classes: int) -> None:
    """Raise OptionError unless a classifier can be built for so many classes."""
    if not isinstance(classes, int) or classes < 2:
        raise OptionError(f"classes is {classes!r}; expected at least 2")


def fold_stem(conv: nn.Conv2d) -> nn.Conv2d:
    """Fold a convolution over three equal channels into one over a single channel.

    A grey image repeated in three channels, all normalised by one mean and one standard deviation, gives
    ``sum_c(w_c * x) = (sum_c w_c) * x``: summing the kernels over the channels is exact, borders included.

    Parameters
    ----------
    conv : torch.nn.Conv2d
        With kernels [out, 3, h, w]; of any kind, such as timm's that pad as TensorFlow does.

    Returns
    -------
    torch.nn.Conv2d
        Of the same kind, with kernels [out, 1, h, w] and the same bias, if any.
    """
    folded = copy.deepcopy(conv)
    folded.in_channels = 1
    folded.weight = nn.Parameter(conv.weight.detach().sum(dim=1, keepdim=True))
    return folded


def grey_stem(network: nn.Module) -> None:
    """Fold the first convolution of a colour network, wherever it stands."""
    path, conv = next((path, part) for path, part in network.named_modules() if isinstance(part, nn.Conv2d))
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, fold_stem(conv))
