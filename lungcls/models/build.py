"""From an architecture, as a recipe or a weight card states it, to a torch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lungcls.errors import OptionError
from lungcls.models.registry import ModelSpec, model_spec

if TYPE_CHECKING:
    from torch import nn


def create_model(architecture: Mapping[str, Any]) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    architecture : mapping
        ``model`` names the network, one of :data:`lungcls.models.MODELS`. ``pretrained`` is ``none``,
        ``imagenet`` (where the network's ``starts`` have it) or a lungcls weight file, by released name or
        path: all its tensors that fit are copied, so that its head may be for other classes. All other items
        are options of the network's builder.

    Returns
    -------
    torch.nn.Module
        Takes float32 [B, 1, H, W]; a U-Net gives logits [B, 1, H, W], a classifier logits [B, classes].

    Raises
    ------
    OptionError
        If the name is not known or an option does not fit it; the message lists what is.
    WeightsError
        If the weights to start from cannot be had or do not fit.
    """
    options = dict(architecture)
    spec = model_spec(options.pop("model", None))
    pretrained = options.pop("pretrained", "none")
    file = _weight_file(spec, pretrained)
    if pretrained in spec.starts:
        options["pretrained"] = pretrained
    try:
        network = spec.builder()(**{**spec.options, **options})
    except TypeError as error:
        raise OptionError(f"the options {options} do not fit the model {spec.name!r}: {error}") from error
    if file is not None:
        from lungcls.models.pretrained import copy_weights

        copy_weights(network, file)
    return network


def _weight_file(spec: ModelSpec, pretrained: Any) -> str | None:
    """Return the weight file that `pretrained` names, if it names one; OptionError where it is impossible."""
    from lungcls.weights import released

    if pretrained == "none" or pretrained in spec.starts:
        return None
    if isinstance(pretrained, str) and (pretrained.endswith(".safetensors") or pretrained in released()):
        return pretrained
    starts = " or ".join(repr(name) for name in ("none", *spec.starts))
    raise OptionError(
        f"pretrained is {pretrained!r}; {spec.name} can start from {starts} or a lungcls weight file (a "
        "released name, or a path that ends in .safetensors)"
    )
