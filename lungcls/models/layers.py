"""The parts of a network that schedules name: its head, and its layers in order."""

from __future__ import annotations

from typing import Any

from torch import nn

from lungcls.models.channels import RepeatChannels


def layers(network: nn.Module) -> list[nn.Module]:
    """Return the modules that hold parameters of their own, in the order of the network."""
    return [part for part in network.modules() if any(True for _ in part.parameters(recurse=False))]


def head(network: nn.Module) -> list[nn.Module]:
    """Return the layers that are not the backbone's.

    Those of ``classifier``, ``fc`` or ``head`` in a classification network (all linear layers of a VGG16),
    and its last layer where it has none of these; the decoder and the last convolution in a U-Net.
    """
    inner: Any = network.network if isinstance(network, RepeatChannels) else network
    if hasattr(inner, "encoder"):
        backbone = set(layers(inner.encoder))
        return [layer for layer in layers(inner) if layer not in backbone]
    named = [getattr(inner, name) for name in ("classifier", "fc", "head") if hasattr(inner, name)]
    return layers(named[0]) if named else layers(inner)[-1:]
