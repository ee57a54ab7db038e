"""Stage 2: say which class a region looks like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lungcls.regions import Region, View

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lungcls.weights import Card


class Classifier:
    """A classification network with its region, class order and temperature.

    Parameters
    ----------
    card : Card
    network : torch.nn.Module
        Ready for inference on `device`.
    device : torch.device
    """

    def __init__(self, card: Card, network: nn.Module, device: torch.device) -> None:
        self.card = card
        self.network = network
        self.device = device
        self.region = Region(**(card.region or {}))

    @classmethod
    def load(cls, weights: str | Path = "classifier-mask", device: str = "auto") -> Classifier:
        """Load a classifier from a released name or a path.

        Raises
        ------
        WeightsError
            If the weights are missing, damaged or not a classifier's.
        ValueError
            If the device is not available.
        """
        from lungcls.models.runtime import load_network, resolve_device

        chosen = resolve_device(device)
        return cls(*load_network(weights, "classification", chosen), chosen)

    def logits(self, views: View) -> npt.NDArray[np.float32]:
        """Return the network's raw outputs, before the temperature.

        Parameters
        ----------
        views : uint8 array [B, S, S]
            As :func:`lungcls.regions.view` makes them; S is the card's ``input_size``.

        Returns
        -------
        float32 array [B, classes]
        """
        from lungcls.models.runtime import run_network

        return run_network(self.network, self.card, views, self.device).numpy()

    def probabilities(self, views: View) -> npt.NDArray[np.float64]:
        """Return calibrated class probabilities.

        Parameters
        ----------
        views : uint8 array [B, S, S]

        Returns
        -------
        float64 array [B, classes]
            Softmax of the logits over the card's temperature; each row sums to 1.
        """
        from scipy.special import softmax

        return np.asarray(softmax(self.logits(views).astype(np.float64) / self.card.temperature, axis=1))
