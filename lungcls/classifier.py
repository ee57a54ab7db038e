"""Stage 2: say which class a region looks like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lungcls.numeric import softmax
from lungcls.regions import Region, View

if TYPE_CHECKING:
    from torch import nn

    from lungcls.engines import Network
    from lungcls.weights import Card


class Classifier:
    """A classification network with its region, class order and temperature.

    Parameters
    ----------
    card : Card
    network : Network
        uint8 views [B, S, S] to logits [B, classes].
    """

    def __init__(self, card: Card, network: Network) -> None:
        self.card = card
        self.network = network
        self.region = Region(**(card.region or {}))

    @classmethod
    def load(
        cls,
        weights: str | Path = "classifier-mask",
        device: str = "auto",
        *,
        engine: str = "auto",
        precision: str = "fp32",
    ) -> Classifier:
        """Load a classifier from a released name or a path.

        Parameters
        ----------
        weights, device, engine, precision
            As :func:`lungcls.engines.load_network` takes them.

        Raises
        ------
        WeightsError
            If the weights are missing, damaged or not a classifier's.
        MissingExtraError
            If the engine is not installed.
        ValueError
            If the engine, the precision or the device is unknown or not available.
        """
        from lungcls.engines import load_network

        return cls(
            *load_network(weights, "classification", engine=engine, device=device, precision=precision)
        )

    @property
    def module(self) -> nn.Module:
        """The torch module; ValueError where another engine runs the network."""
        from lungcls.engines import torch_module

        return torch_module(self.network)

    @property
    def device(self) -> str:
        """Where the network runs, such as ``cpu`` or ``cuda:0``."""
        return self.network.device

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
        return self.network(views)

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
        return softmax(self.logits(views).astype(np.float64) / self.card.temperature)
