"""Stage 2: say which class a region looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lungcls.labels import CLASSES
from lungcls.numeric import sigmoid, softmax
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

    def __repr__(self) -> str:
        return (
            f"Classifier({self.card.name!r}, region={self.region.name!r}, classes={list(self.card.classes)}, "
            f"device={self.device!r}, engine={self.network.engine!r})"
        )

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

    @classmethod
    def of_module(
        cls,
        module: nn.Module,
        *,
        region: Region | str = "mask",
        classes: Sequence[str] = CLASSES,
        input_size: int = 224,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        device: str = "auto",
        precision: str = "fp32",
    ) -> Classifier:
        """Make a stage of a torch module of your own; it answers with the same checks as released weights.

        Parameters
        ----------
        module : torch.nn.Module
            float32 [B, C, S, S] to logits [B, classes]. C is what its first convolution takes; the grey film
            is given to each channel.
        region : Region or str, default="mask"
            What it is shown.
        classes : sequence of str
            Order of its outputs; by default :data:`lungcls.CLASSES`.
        input_size : int, default=224
            S, in pixels.
        mean, std : float or one a channel, default=0.5
            It is shown ``(pixel - mean) / std``, pixels in [0, 1].
        device, precision
            As :meth:`load` takes them.

        Raises
        ------
        OptionError
            If the module does not take or give what is stated.
        """
        from lungcls.engines.own_module import wrap_module

        chosen = region if isinstance(region, Region) else Region(region)
        return cls(
            *wrap_module(
                module,
                "classification",
                classes=classes,
                input_size=input_size,
                region=chosen,
                mean=mean,
                std=std,
                device=device,
                precision=precision,
            )
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
            Softmax of the logits over the card's temperature; each row sums to 1. Of findings: each column by
            itself (:func:`finding_probabilities`).
        """
        logits = self.logits(views).astype(np.float64)
        if self.card.multilabel:
            return finding_probabilities(logits, self.card)
        return softmax(logits / self.card.temperature)


def finding_probabilities(logits: npt.NDArray[np.float64], card: Card) -> npt.NDArray[np.float64]:
    """Return the calibrated probability of each finding: ``sigmoid(slope * logit + intercept)``.

    Parameters
    ----------
    logits : float64 array [B, K]
    card : Card
        With ``activation`` sigmoid; its ``platt`` has slope and intercept of each finding.

    Returns
    -------
    float64 array [B, K]

    References
    ----------
    Platt (1999), Probabilistic Outputs for Support Vector Machines, Advances in Large Margin Classifiers.
    """
    scaling = np.asarray([card.platt.get(name, (1.0, 0.0)) for name in card.classes], np.float64)
    return sigmoid(logits * scaling[:, 0] + scaling[:, 1])
