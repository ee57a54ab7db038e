"""The card of a network: what each layer gives, and how many parameters it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lungcls.errors import OptionError
from lungcls.models.build import create_model


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a network.

    Attributes
    ----------
    name : str
        Path in the module.
    kind : str
        Class of the module.
    output : tuple of int
        Shape for one image, without the batch.
    parameters : int
        Of its own.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int


def summarise(architecture: Mapping[str, Any], size: int) -> list[Layer]:
    """List a network's layers with output shapes and parameter counts, without memory or arithmetic for them.

    Parameters
    ----------
    architecture : mapping
        As :func:`lungcls.models.create_model` takes it; pre-trained weights are not loaded.
    size : int
        Side of the input, in pixels.

    Returns
    -------
    list of Layer
        Leaf modules, and others with parameters of their own, in the order in which they run. Their
        parameters sum to the network's.

    Raises
    ------
    OptionError
        If the network cannot be built, or not run at this size.
    """
    rows: list[Layer] = []

    def note(name: str, part: nn.Module) -> None:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                count = sum(value.numel() for value in module.parameters(recurse=False))
                rows.append(Layer(name, type(module).__name__, tuple(output.shape[1:]), count))

        part.register_forward_hook(hook)

    with torch.device("meta"), torch.inference_mode():
        network = create_model({**architecture, "pretrained": "none"}).eval()
        for name, part in network.named_modules():
            if not any(True for _ in part.children()) or any(True for _ in part.parameters(recurse=False)):
                note(name.removeprefix("network."), part)
        try:
            network(torch.empty(1, 1, size, size))
        except RuntimeError as error:
            model = architecture.get("model")
            raise OptionError(f"{model} cannot run on {size} pixels as it was built: {error}") from error
    return rows
