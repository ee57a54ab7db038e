"""From an architecture, as a recipe or a weight card states it, to a torch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def _unet(**options: Any) -> nn.Module:
    from lungcls.models.unet import unet

    return unet(**options)


def _densenet121(**options: Any) -> nn.Module:
    from lungcls.models.densenet import densenet121

    return densenet121(**options)


_BUILDERS: dict[str, Callable[..., nn.Module]] = {"unet": _unet, "densenet121": _densenet121}


def create_model(architecture: Mapping[str, Any]) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    architecture : mapping
        ``model`` names the network (``unet``, ``densenet121``); all other items are options of its builder
        (:func:`lungcls.models.unet.unet`, :func:`lungcls.models.densenet.densenet121`).

    Returns
    -------
    torch.nn.Module
        Takes float32 [B, 1, H, W]; a U-Net gives logits [B, 1, H, W], a classifier logits [B, classes].

    Raises
    ------
    ValueError
        If the name is not known or an option does not fit it; the message lists what is.
    """
    options = dict(architecture)
    name = options.pop("model", None)
    if not isinstance(name, str) or name not in _BUILDERS:
        raise ValueError(f"unknown model {name!r}; the models are {', '.join(sorted(_BUILDERS))}")
    try:
        return _BUILDERS[name](**options)
    except TypeError as error:
        raise ValueError(f"the options {options} do not fit the model {name!r}: {error}") from error
