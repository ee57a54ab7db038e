from __future__ import annotations

import pytest
import torch

from lungcls.models import create_model


def test_logits_and_a_distance() -> None:
    network = create_model({"model": "gate", "classes": 9}).eval()
    outputs = network(torch.randn(3, 1, 64, 64))
    assert outputs.shape == (3, 10)
    assert torch.equal(outputs[:, -1], torch.zeros(3))
    network.centre += 1.0
    network.whiten += torch.eye(48)
    with torch.inference_mode():
        expected = (network.body(torch.zeros(1, 1, 64, 64)) - 1).square().mean()
        found = network(torch.zeros(1, 1, 64, 64))[0, -1]
    assert float(found) == pytest.approx(float(expected))


def test_it_is_small() -> None:
    network = create_model({"model": "gate", "classes": 9})
    assert sum(parameter.numel() for parameter in network.parameters()) < 80_000


def test_other_sizes() -> None:
    network = create_model(
        {"model": "gate", "classes": 2, "channels": [4, 8], "hidden": 6, "size": 24}
    ).eval()
    assert network(torch.zeros(2, 1, 24, 24)).shape == (2, 3)
    with pytest.raises(ValueError, match="size is 30; expected a multiple of 16"):
        create_model({"model": "gate", "classes": 2, "size": 30})
