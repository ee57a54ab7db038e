"""What both stages share when they run a network: the device, the normalised batch, the loaded module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lungcls.errors import OptionError, WeightsError
from lungcls.labels import CLASSES
from lungcls.models.build import create_model
from lungcls.regions import View
from lungcls.weights import Card, load_state


def resolve_device(device: str = "auto") -> torch.device:
    """Return the torch device that a text names.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default="auto"
        ``auto`` takes CUDA, then MPS, then the CPU.

    Raises
    ------
    ValueError
        If the text names no device, or one that this machine lacks.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise OptionError(f"unknown device {device!r}; expected auto, cpu, cuda, cuda:N or mps") from error
    present = {
        "cpu": True,
        "cuda": (chosen.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(chosen.type, False):
        raise OptionError(f"the device {device!r} is not available here; use device='auto' or 'cpu'")
    return chosen


def normalise(views: Tensor, mean: float, std: float) -> Tensor:
    """Turn views into what a network takes: the only place where pixels are normalised.

    Parameters
    ----------
    views : uint8 tensor [B, S, S]
    mean, std : float
        In units of the [0, 1] range.

    Returns
    -------
    float32 tensor [B, 1, S, S], channels last
    """
    scaled = views.unsqueeze(1).to(torch.float32).div(255.0).sub(mean).div(std)
    return scaled.contiguous(memory_format=torch.channels_last)


def load_network(name: str | Path, task: str, device: torch.device) -> tuple[Card, nn.Module]:
    """Load a weight file into its network, ready for inference.

    Parameters
    ----------
    name : str or path-like
        As :func:`lungcls.weights.find_weights` takes it.
    task : {"segmentation", "classification"}
        What the weights must be for.
    device : torch.device

    Raises
    ------
    WeightsError
        If the file is damaged, is for the other task, or does not fit its architecture or its classes.
    """
    card, state = load_state(name)
    if card.task != task:
        raise WeightsError(f"{name}: these weights are for {card.task}; expected weights for {task}")
    try:
        # Were pre-trained weights asked for, they would be downloaded only to be overwritten.
        # Built without memory and then given its tensors: no time goes into random weights, and the global
        # random state is left alone.
        with torch.device("meta"):
            network = create_model({**card.architecture, "pretrained": "none"})
        network.load_state_dict(state, assign=True)
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{name}: the weights do not fit the card's architecture: {error}") from error
    outputs = card.architecture.get("classes", len(CLASSES))
    if task == "classification" and outputs != len(card.classes):
        raise WeightsError(f"{name}: the card names {len(card.classes)} classes for {outputs} outputs")
    network.eval().requires_grad_(False)
    return card, network.to(device).to(memory_format=torch.channels_last)


def run_network(network: nn.Module, card: Card, views: View, device: torch.device) -> Tensor:
    """Run a network on views in one batch.

    Parameters
    ----------
    network : torch.nn.Module
    card : Card
    views : uint8 array [B, S, S]
        S is the card's ``input_size``.
    device : torch.device

    Returns
    -------
    float32 tensor on the CPU
        Logits, [B, 1, S, S] or [B, classes].
    """
    with torch.inference_mode():
        batch = torch.from_numpy(np.ascontiguousarray(views)).to(device)
        logits: Tensor = network(normalise(batch, card.mean, card.std))
        return logits.float().cpu()
