"""A user's own torch module as a stage: its card, and a network that takes views."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lungcls.engines.pytorch import TorchNetwork
from lungcls.errors import OptionError
from lungcls.models.runtime import resolve_device
from lungcls.regions import Region
from lungcls.weights import Card


class _Colour(nn.Module):
    """Gives a network of several channels the grey channel in each, with its own mean and scale for each."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean)[None, :, None, None])
        self.register_buffer("std", torch.tensor(std)[None, :, None, None])

    def forward(self, batch: Tensor) -> Tensor:
        """Return the network's outputs."""
        scaled: Tensor = self.network((batch - self.get_buffer("mean")) / self.get_buffer("std"))
        return scaled


def wrap_module(
    module: nn.Module,
    task: str,
    *,
    classes: Sequence[str],
    input_size: int,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    region: Region | None = None,
    thresholds: dict[str, float] | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> tuple[Card, TorchNetwork]:
    """Make a stage of a module: parameters as the stages' ``of_module`` take them.

    Raises
    ------
    OptionError
        If the module is none, cannot take a batch of the stated size, or gives something else than logits of
        the stated shape.
    """
    if not isinstance(module, nn.Module):
        raise OptionError(
            f"{task}: found an object of type {type(module).__name__}, expected the name or path of weights, "
            "a loaded stage or a torch.nn.Module"
        )
    if isinstance(classes, str) or len(set(classes)) != len(classes) or not classes:
        raise OptionError(f"classes are {classes!r}; expected different names in the order of the outputs")
    chosen = resolve_device(device)
    network = module.eval().to(chosen)
    means = [float(mean)] if isinstance(mean, (int, float)) else [float(value) for value in mean]
    stds = [float(std)] if isinstance(std, (int, float)) else [float(value) for value in std]
    channels = _channels(module)
    if channels > 1:
        network = _Colour(network, _spread(means, channels), _spread(stds, channels)).eval().to(chosen)
        means, stds = [0.0], [1.0]
    elif len(means) > 1 or len(stds) > 1:
        raise OptionError("mean and std have several values, but the module's first layer takes one channel")
    _check(network, task, classes, input_size, chosen)
    card = Card(
        name=type(module).__name__,
        task=task,
        architecture={"model": "own", "class": f"{type(module).__module__}.{type(module).__qualname__}"},
        input_size=input_size,
        value_range=(0.0, 1.0),
        mean=means[0],
        std=stds[0],
        region=region.to_dict() if region else None,
        classes=tuple(classes),
        temperature=1.0,
        thresholds=thresholds or {},
        training_data={},
        recipe={},
        metrics={},
        versions={},
        licence="",
        sha256=_hash(module),
    )
    return card, TorchNetwork(network, card, chosen, precision=precision)


def _channels(module: nn.Module) -> int:
    """How many channels the first convolution takes; 1 where there is none to tell."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return first.in_channels if first else 1


def _spread(values: list[float], channels: int) -> list[float]:
    if len(values) not in (1, channels):
        raise OptionError(f"mean or std has {len(values)} values; the module takes {channels} channels")
    return values * channels if len(values) == 1 else values


def _check(network: nn.Module, task: str, classes: Sequence[str], size: int, device: torch.device) -> None:
    try:
        with torch.inference_mode():
            outputs = network(torch.zeros(2, 1, size, size, device=device))
    except (RuntimeError, ValueError, TypeError) as error:
        raise OptionError(
            f"the module does not take a batch [2, 1, {size}, {size}]: {error}; give the input_size that it "
            "was made for"
        ) from error
    shape: Any = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    expected = (2, len(classes)) if task == "classification" else (2, 1, size, size)
    if shape != expected:
        raise OptionError(
            f"the module gives {shape} for a batch of 2, expected logits {expected}; wrap it so that it "
            "does, or name its classes"
        )


def _hash(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(np.ascontiguousarray(value.detach().cpu().float().numpy()).tobytes())
    return digest.hexdigest()
