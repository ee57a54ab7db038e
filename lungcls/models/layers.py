"""The parts of a network that schedules name: its head, its last block, and its layers in order."""

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


def last_block(network: nn.Module) -> list[nn.Module]:
    """Return the layers of the backbone's last block and all that follow it, the head included.

    The block is the last part with several layers that holds at most half of all: ``denseblock4`` of a
    DenseNet121, ``layer4`` of a ResNet; the head alone where a network has no such parts (VGG16).
    """
    everything = layers(network)
    place: nn.Module = network
    while True:
        blocks = [part for part in place.children() if len(layers(part)) > 1 and not _is_head(part, network)]
        if not blocks:
            return head(network)
        place = blocks[-1]
        if len(layers(place)) <= len(everything) / 2:
            return everything[everything.index(layers(place)[0]) :]


def _is_head(part: nn.Module, network: nn.Module) -> bool:
    return set(layers(part)) <= set(head(network))
