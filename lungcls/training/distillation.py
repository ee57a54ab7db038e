"""Learning from the probabilities of networks that are trained already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lungcls.errors import RecipeError
from lungcls.models.runtime import load_network, normalise
from lungcls.regions import Region


class Teachers:
    """Frozen networks that see what the student sees; not a part of it, so that no checkpoint holds them.

    Parameters
    ----------
    names : sequence of str or path-like
        Weight files of classifiers, as :func:`lungcls.weights.find_weights` takes them.
    region : Region
    classes : sequence of str
    temperature : float
        Divides all logits, of teachers and student.
    tone : str, default="range"
        Of the student's views.

    Raises
    ------
    RecipeError
        If a teacher knows other classes or sees another region or tone than the student.
    WeightsError
        If a file is missing, damaged or not a classifier's.

    References
    ----------
    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015.
    """

    def __init__(
        self,
        names: Sequence[str | Path],
        region: Region,
        classes: Sequence[str],
        temperature: float,
        tone: str = "range",
    ) -> None:
        self.temperature = temperature
        self._networks = []
        for name in names:
            card, network = load_network(name, "classification", torch.device("cpu"))
            if card.classes != tuple(classes):
                raise RecipeError(f"teacher {name} knows the classes {card.classes}, the student {classes}")
            if Region(**(card.region or {})) != region:
                raise RecipeError(f"teacher {name} sees the region {card.region}, the student {region}")
            if card.tone != tone:
                raise RecipeError(f"teacher {name} sees the tone {card.tone!r}, the student {tone!r}")
            self._networks.append((card, network))

    def to(self, device: torch.device) -> None:
        """Move the networks to where the views will be."""
        for _, network in self._networks:
            network.to(device)

    @torch.no_grad()
    def probabilities(self, views: Tensor) -> Tensor:
        """Return the mean of the teachers' softened probabilities, float32 [B, K], of views [B, S, S].

        Each teacher gets the views at the size that it was trained for.
        """
        answers = []
        for card, network in self._networks:
            seen = views
            if views.shape[-1] != card.input_size:
                size = (card.input_size, card.input_size)
                seen = functional.interpolate(views[:, None].float(), size, mode="bilinear")[:, 0]
            logits = network(normalise(seen, card.mean, card.std)).float()
            answers.append((logits / self.temperature).softmax(1))
        return torch.stack(answers).mean(0)

    def loss(self, logits: Tensor, views: Tensor) -> Tensor:
        """Return how far a student's logits [B, K] are from the teachers' answers to the same views.

        The Kullback-Leibler divergence times the square of the temperature, which keeps the size of its
        gradients.
        """
        student = (logits / self.temperature).log_softmax(1)
        divergence = functional.kl_div(student, self.probabilities(views), reduction="batchmean")
        return divergence * self.temperature**2
