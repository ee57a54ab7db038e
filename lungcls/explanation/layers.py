"""Which feature map of a network a CAM is made from, for any convolutional network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torchvision
from torch import Tensor, nn

from lungcls.errors import OptionError
from lungcls.models.channels import RepeatChannels

_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def unfolded(module: nn.Module) -> nn.Module:
    """Return a network whose last feature map a hook can reach; it shares the weights and gives the same.

    torchvision's DenseNet ends in ``F.relu(features, inplace=True)``, which is no module: a hook on
    ``features`` sees the values before it, and on a CPU they are overwritten behind the hook's back.
    """
    if isinstance(module, RepeatChannels):
        return RepeatChannels(unfolded(module.network))
    dense = torchvision.models.DenseNet
    if isinstance(module, dense) and type(module).forward is dense.forward:
        return nn.Sequential(
            module.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), module.classifier
        )
    return module


def target_layer(module: nn.Module, batch: Tensor, name: str | None = None) -> nn.Module:
    """Find the layer whose output a CAM is made from.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    batch : float tensor [B, C, H, W]
        The first image is sent through the network once, unless `name` is given.
    name : str, optional
        Of a submodule. By default the last one to answer with a feature map [B, C, h, w] of more than one
        cell, adaptive pooling left out: what the classifying layers pool.

    Raises
    ------
    ValueError
        If there is no such submodule, or no feature map.
    """
    if name is not None:
        return named_layer(module, name)
    last: list[nn.Module] = []

    def note(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            last[:] = [layer]

    handles = [
        layer.register_forward_hook(note)
        for layer in module.modules()
        if not isinstance(layer, _POOLS) and layer is not module
    ]
    try:
        with torch.no_grad():
            module(batch[:1])
    finally:
        for handle in handles:
            handle.remove()
    if not last:
        raise OptionError(
            "the network has no feature map [B, C, h, w] of more than one cell; name a layer that has"
        )
    return last[0]


def named_layer(module: nn.Module, name: str) -> nn.Module:
    """Return a submodule by name; ValueError with examples of names if there is none."""
    try:
        return module.get_submodule(name)
    except AttributeError as error:
        names = [each for each, _ in module.named_modules() if each and each.count(".") <= 1]
        raise OptionError(f"no layer {name!r} in the network; it has {', '.join(names[:30])}, ...") from error


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode and back, submodule by submodule."""
    training = [each for each in module.modules() if each.training]
    module.eval()
    try:
        yield
    finally:
        for each in training:
            each.training = True
