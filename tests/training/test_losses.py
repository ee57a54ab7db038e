"""Losses against values that were computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from lungcls.models import create_model
from lungcls.recipes import load_recipe
from lungcls.training.losses import BinaryCrossEntropy, FocalLoss, classification_loss, conv_penalty
from lungcls.training.train import balanced_weights

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.5, 0.0], [0.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 2, 1])


def test_focal_loss_by_hand() -> None:
    # Logits log(3) and 0: p = 3/4 of the first class.
    logits = torch.tensor([[math.log(3.0), 0.0], [math.log(3.0), 0.0]])
    labels = torch.tensor([0, 1])
    easy = -0.25 * (1 / 4) ** 2 * math.log(3 / 4)  # 0.0044950...
    hard = -0.25 * (3 / 4) ** 2 * math.log(1 / 4)  # 0.1949439...
    assert FocalLoss(2.0, 0.25)(logits, labels).item() == pytest.approx((easy + hard) / 2, abs=1e-6)
    assert FocalLoss(2.0, 0.25)(logits[:1], labels[:1]).item() == pytest.approx(0.0044950, abs=1e-6)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_focal_loss_without_focus_is_cross_entropy(weights: list[float] | None) -> None:
    expected = nn.CrossEntropyLoss(torch.tensor(weights) if weights else None)(LOGITS, LABELS)
    torch.testing.assert_close(FocalLoss(0.0, 1.0, weights)(LOGITS, LABELS), expected)


def test_focal_loss_has_a_gradient_where_the_network_is_sure() -> None:
    logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
    FocalLoss()(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_binary_cross_entropy_of_two_outputs_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]])
    expected = (-math.log(3 / 4) - math.log(1 / 4)) / 2
    assert BinaryCrossEntropy()(logits, torch.tensor([1, 0])).item() == pytest.approx(expected, abs=1e-6)


def test_binary_cross_entropy_of_more_classes_is_each_against_the_rest() -> None:
    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    one = -(math.log(sigmoid(2)) + math.log(1 - sigmoid(0)) + math.log(1 - sigmoid(-1))) / 3
    assert BinaryCrossEntropy()(LOGITS[:1], LABELS[:1]).item() == pytest.approx(one, abs=1e-6)


def test_class_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2, 3], [50, 7, 120, 1])
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    np.testing.assert_allclose(balanced_weights(np.bincount(labels)), expected)


def test_the_penalty_is_on_convolution_kernels_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(3.0)
    assert conv_penalty(network).item() == pytest.approx(8 * 9.0)
    before = conv_penalty(network)
    with torch.no_grad():
        network[0].bias.fill_(100.0)
        network[3].weight.fill_(100.0)
    assert conv_penalty(network) == before
    assert conv_penalty(create_model({"model": "cnn-vgg-bn", "size": 16})).item() > 0


def test_recipes_name_their_loss() -> None:
    recipe = load_recipe("reference/mobilenet-v2")
    focal = classification_loss(recipe, None)
    assert isinstance(focal, FocalLoss)
    assert (focal.gamma, focal.alpha) == (2.0, 0.25)
    assert isinstance(classification_loss(load_recipe("reference/cnn-strided"), None), BinaryCrossEntropy)
    plain = classification_loss(replace(recipe, loss="cross_entropy", label_smoothing=0.1), [1.0, 2.0])
    assert isinstance(plain, nn.CrossEntropyLoss)
    assert plain.label_smoothing == 0.1
