"""The engine that trains as well: torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lungcls.engines.forks import generation
from lungcls.engines.graphs import find_graph
from lungcls.errors import WeightsError
from lungcls.models.runtime import load_network, resolve_device, run_network
from lungcls.regions import View
from lungcls.weights import Card

_ran_in: int | None = None  # generation of the process in which a network ran last


class TorchNetwork:
    """A torch module that takes views; parameters and attributes as :class:`lungcls.engines.Network`.

    Parameters
    ----------
    module : torch.nn.Module
        Ready for inference on `device`: float32 [B, 1, S, S] to logits.
    card : Card
        Says how views are normalised.
    device : torch.device
    precision : {"fp32", "bf16"}, default="fp32"
    takes_views : bool, default=False
        Whether the module normalises the views itself, as exported programs do.
    """

    engine = "torch"

    def __init__(
        self,
        module: nn.Module,
        card: Card,
        device: torch.device,
        *,
        precision: str = "fp32",
        takes_views: bool = False,
    ) -> None:
        self.module = module
        self.precision = precision
        self._card = card
        self._device = device
        self.takes_views = takes_views

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(self._device)

    def __call__(self, views: View) -> npt.NDArray[np.float32]:
        """Run one batch."""
        _leave_threads_of_parent()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if self.takes_views:
                with torch.inference_mode():
                    batch = torch.from_numpy(np.ascontiguousarray(views)).to(self._device)
                    logits = self.module(batch).float().cpu()
            else:
                logits = run_network(self.module, self._card, views, self._device)
        return np.asarray(logits)


def _leave_threads_of_parent() -> None:
    """Run on one thread in a child that was forked after a network had run: OpenMP has no others there."""
    global _ran_in
    if _ran_in is not None and _ran_in < generation():
        torch.set_num_threads(1)
    _ran_in = generation()


def load(weights: str | Path, task: str, device: str, precision: str) -> tuple[Card, TorchNetwork]:
    """Load a weight file; parameters and errors as :func:`lungcls.engines.load_network`."""
    chosen = resolve_device(device)
    if Path(weights).suffix in (".pt2", ".onnx", ".xml"):
        card, path = find_graph(weights, task, (".pt2",))
        try:
            program: nn.Module = torch.export.load(path).module().to(chosen)
        except Exception as error:  # what a damaged archive raises has no common base
            raise WeightsError(f"{path}: torch cannot load this file: {error}") from error
        return card, TorchNetwork(program, card, chosen, precision=precision, takes_views=True)
    card, module = load_network(weights, task, chosen)
    return card, TorchNetwork(module, card, chosen, precision=precision)
