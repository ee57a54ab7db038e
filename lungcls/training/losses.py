"""Losses that torch does not have, for logits of several classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungcls.recipes import Recipe


class FocalLoss(nn.Module):
    """Cross-entropy that counts the less the surer the network is: ``-alpha (1 - p)^gamma log p``.

    p is the probability of the true class.

    Parameters
    ----------
    gamma : float, default=2.0
        0 is cross-entropy.
    alpha : float, default=0.25
        Scales the whole loss.
    weights : sequence of float, optional
        One a class; the mean is over weights, as in torch's cross-entropy.

    References
    ----------
    Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection, 2017.
    """

    weights: Tensor | None

    def __init__(
        self, gamma: float = 2.0, alpha: float = 0.25, weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha
        self.register_buffer("weights", _tensor(weights), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over logits float32 [B, K] and labels int64 [B]."""
        likelihood = -functional.cross_entropy(logits, labels, reduction="none")
        loss = -self.alpha * (1 - likelihood.exp()) ** self.gamma * likelihood
        return _mean(loss, labels, self.weights)


class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy: of the second of two classes, or of each of more classes against the rest.

    With two classes the logit is the difference of the two outputs, which is the one output of a network that
    has but one (:class:`lungcls.models.cnn.TwoLogits`).

    Parameters
    ----------
    weights : sequence of float, optional
        One a class; the mean is over weights.
    """

    weights: Tensor | None

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("weights", _tensor(weights), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over logits float32 [B, K] and labels int64 [B]."""
        if logits.shape[1] == 2:
            scores, targets = logits[:, 1:] - logits[:, :1], labels[:, None]
        else:
            scores, targets = logits, functional.one_hot(labels, logits.shape[1])
        loss = functional.binary_cross_entropy_with_logits(scores, targets.to(scores), reduction="none")
        return _mean(loss.mean(1), labels, self.weights)


class FindingsLoss(nn.Module):
    """Binary cross-entropy of each finding, over those that are known.

    Parameters
    ----------
    weights : sequence of float, optional
        One a finding: how much a film that has it counts against one that has not.
    """

    weights: Tensor | None

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("weights", _tensor(weights), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over logits float32 [B, K] and targets int64 [B, K], -1 where not known."""
        labelled = targets >= 0
        loss = functional.binary_cross_entropy_with_logits(
            logits, targets.clamp(min=0).to(logits), reduction="none", pos_weight=self.weights
        )
        return (loss * labelled).sum() / labelled.sum().clamp(min=1)


def classification_loss(recipe: Recipe, weights: Sequence[float] | None) -> nn.Module:
    """Return the loss that a recipe names, with a weight a class or none."""
    if recipe.loss == "focal":
        return FocalLoss(recipe.focal_gamma, recipe.focal_alpha, weights)
    if recipe.loss == "bce":
        return BinaryCrossEntropy(weights)
    return nn.CrossEntropyLoss(_tensor(weights), label_smoothing=recipe.label_smoothing)


def conv_penalty(network: nn.Module) -> Tensor:
    """Return the sum of squares of all convolution kernels; biases and other layers are left out."""
    kernels = [part.weight for part in network.modules() if isinstance(part, nn.Conv2d)]
    return torch.stack([kernel.float().square().sum() for kernel in kernels]).sum()


def _tensor(weights: Sequence[float] | None) -> Tensor | None:
    return None if weights is None else torch.tensor(weights, dtype=torch.float32)


def _mean(loss: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return loss.mean()
    chosen = weights[labels]
    return (chosen * loss).sum() / chosen.sum()
