from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lungcls.recipes import load_recipe
from lungcls.training.losses import classification_loss
from lungcls.training.mixing import mixing

RECIPE = load_recipe("classifier-full")


def test_without_a_share_nothing_is_mixed() -> None:
    assert mixing(replace(RECIPE, mixup=0.0, cutmix=0.0), 4) is None


@pytest.mark.parametrize("shares", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_films_and_targets_are_mixed_in_the_same_shares(shares: dict[str, float]) -> None:
    torch.manual_seed(1)
    mix = mixing(replace(RECIPE, **shares), 4)
    assert mix is not None
    labels = torch.tensor([0, 1, 2, 3])
    views = (100.0 * labels).view(-1, 1, 1, 1).expand(4, 1, 32, 32).clone()
    mixed, targets = mix(views, labels)
    assert mixed.shape == views.shape
    assert torch.allclose(targets.sum(1), torch.ones(4))
    # All of a film is one grey level, so the mean tells the shares: of 100 times the label.
    assert torch.allclose(mixed.mean((1, 2, 3)), 100 * (targets * labels).sum(1), atol=1e-2)
    loss = classification_loss(replace(RECIPE, label_smoothing=0.1), [1.0, 2.0, 1.0, 1.0])
    assert torch.isfinite(loss(torch.zeros(4, 4), targets))
