from __future__ import annotations

import numpy as np
import pytest
import torch

from lungcls.gate.screening import KINDS
from lungcls.gate.views import GateBatches, Sources
from lungcls.phantom import chest_phantom


@pytest.fixture(scope="module")
def sources() -> Sources:
    rng = np.random.default_rng(0)
    phantoms = [chest_phantom(96, seed=seed) for seed in range(6)]
    return Sources(
        films=np.stack([np.rint(phantom.image * 255).astype(np.uint8) for phantom in phantoms]),
        masks=np.stack([phantom.mask.astype(np.uint8) for phantom in phantoms]),
        weights=np.full(6, 1 / 6),
        slices=rng.integers(0, 256, (3, 96, 96)).astype(np.uint8),
        strangers=rng.integers(0, 256, (4, 96, 96)).astype(np.uint8),
        real=6,
    )


def test_a_seed_decides_the_batches(sources: Sources) -> None:
    (a, kinds), (b, _), (c, _) = (GateBatches(sources, 64, seed).batch() for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a[:20], c[:20])
    assert (a.dtype, a.shape[1:]) == (torch.uint8, (64, 64))
    assert set(kinds.tolist()) == set(range(len(KINDS)))


def upper_is_lung(views: torch.Tensor) -> torch.Tensor:
    """Whether the middle of the upper half is darker than that of the lower: lungs above the belly."""
    return views[:, 12:30, 12:52].float().mean((1, 2)) < views[:, 40:58, 12:52].float().mean((1, 2))


def test_kinds_are_what_they_say(sources: Sources) -> None:
    batches = GateBatches(sources, 64, 0)
    made = {
        kind: batches.batch({kind: 64})[0] for kind in ("frontal", "rotated_90", "rotated_180", "inverted")
    }
    upright = upper_is_lung(made["frontal"]).float().mean()
    assert upright > 0.75
    assert upper_is_lung(made["rotated_180"]).float().mean() < 0.3
    back = torch.rot90(made["rotated_90"], -1, (1, 2))
    assert upper_is_lung(back).float().mean() > 0.75
    assert upper_is_lung(torch.rot90(made["rotated_90"], 1, (1, 2))).float().mean() < 0.3
    assert made["inverted"].float().mean() > made["frontal"].float().mean()


def test_only_what_is_whole_is_frontal_and_only_what_is_cut_is_cut_off(sources: Sources) -> None:
    batches = GateBatches(sources, 64, 0)
    for kind in ("frontal", "cut_off"):
        views, kinds = batches.batch({kind: 100})
        assert 30 < len(views) <= 100
        assert set(kinds.tolist()) == {KINDS.index(kind)}
