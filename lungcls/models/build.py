"""From an architecture, as a recipe or a weight card states it, to a torch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lungcls.errors import OptionError
from lungcls.models.catalog import MODELS

if TYPE_CHECKING:
    from torch import nn


def _unet(**options: Any) -> nn.Module:
    from lungcls.models.unet import unet

    return unet(**options)


def _densenet(**options: Any) -> nn.Module:
    from lungcls.models.densenet import densenet

    return densenet(**options)


def _cnn(name: str, **options: Any) -> nn.Module:
    from lungcls.models import cnn

    if "pretrained" in options:
        raise OptionError(
            f"pretrained is 'imagenet', on which {name} was never trained; expected 'none' or a lungcls "
            "weight file"
        )
    builders = {
        "cnn-4conv": cnn.cnn_4conv,
        "cnn-strided": cnn.cnn_strided,
        "cnn-vgg-bn": cnn.cnn_vgg_bn,
        "cnn-3conv-512": cnn.cnn_3conv_512,
    }
    return builders[name](**options)


def _backbone(name: str, **options: Any) -> nn.Module:
    from lungcls.models.backbones import backbone

    return backbone(name, **options)


def _gate(**options: Any) -> nn.Module:
    from lungcls.gate.network import gate

    return gate(**options)


_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "unet": _unet,
    "gate": _gate,
    "densenet": _densenet,
    **{name: partial(_cnn if name.startswith("cnn-") else _backbone, name) for name in MODELS},
}


def create_model(architecture: Mapping[str, Any]) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    architecture : mapping
        ``model`` names the network: ``unet``, ``densenet``, ``gate``, or one of
        :data:`lungcls.models.catalog.MODELS`. ``pretrained`` is ``none``, ``imagenet`` (downloaded; not for
        the small networks of :mod:`lungcls.models.cnn`) or a lungcls weight file, by released name or path:
        all its tensors that fit are copied, so that its head may be for other classes. All other items are
        options of the builder (:func:`lungcls.models.unet.unet`,
        :func:`lungcls.models.densenet.densenet`, :func:`lungcls.models.backbones.backbone`, the functions of
        :mod:`lungcls.models.cnn`).

    Returns
    -------
    torch.nn.Module
        Takes float32 [B, 1, H, W]; a U-Net gives logits [B, 1, H, W], a classifier logits [B, classes].

    Raises
    ------
    ValueError
        If the name is not known or an option does not fit it; the message lists what is.
    WeightsError
        If the weights to start from cannot be had or do not fit.
    """
    options = dict(architecture)
    name = options.pop("model", None)
    if not isinstance(name, str) or name not in _BUILDERS:
        raise OptionError(f"unknown model {name!r}; the models are {', '.join(sorted(_BUILDERS))}")
    pretrained = options.pop("pretrained", "none")
    file = _weight_file(pretrained)
    if pretrained == "imagenet":
        options["pretrained"] = pretrained
    try:
        network = _BUILDERS[name](**options)
    except TypeError as error:
        raise OptionError(f"the options {options} do not fit the model {name!r}: {error}") from error
    if file is not None:
        from lungcls.models.pretrained import copy_weights

        copy_weights(network, file)
    return network


def _weight_file(pretrained: Any) -> str | None:
    """Whether `pretrained` names a weight file; ValueError where it is nothing that it may be."""
    from lungcls.weights import released

    if pretrained in ("none", "imagenet"):
        return None
    if isinstance(pretrained, str) and (pretrained.endswith(".safetensors") or pretrained in released()):
        return pretrained
    raise OptionError(
        f"pretrained is {pretrained!r}; expected 'none' or 'imagenet' or a lungcls weight file (a released "
        "name, or a path that ends in .safetensors)"
    )
