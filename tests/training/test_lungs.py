from __future__ import annotations

import pytest
import torch

from lungcls.training.lungs import jittered, with_other_surroundings


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _discs(count: int, size: int = 64) -> torch.Tensor:
    across = torch.arange(size) - size / 2
    disc = (across[:, None] ** 2 + across**2 < (size / 4) ** 2).float()
    return disc.expand(count, 1, size, size).clone()


def test_an_outline_moves_both_ways_but_not_far() -> None:
    discs = _discs(64)
    reach = 4 / 64
    moved = jittered(discs, reach)
    assert (moved.min(), moved.max()) == (0, 1)
    added, lost = (moved - discs).clamp(min=0), (discs - moved).clamp(min=0)
    assert added.sum() > 0
    assert lost.sum() > 0
    assert (moved.flatten(1) != moved.flatten(1)[0]).any(1)[1:].all()
    # A square of the reach around the outline is all that changes.
    near = torch.nn.functional.max_pool2d(discs, 9, 1, 4) - (-torch.nn.functional.max_pool2d(-discs, 9, 1, 4))
    assert ((added + lost) * (1 - near)).max() < 1e-4


def test_an_edge_that_does_not_move_is_one_pixel_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lungcls.training.lungs._smooth_noise", torch.zeros_like)
    half = torch.zeros(1, 1, 32, 32)
    half[..., 16:] = 1
    half[..., 15] = 0.5  # as a resized mask has it
    for reach in (1 / 32, 3 / 32):
        moved = jittered(half, reach)
        torch.testing.assert_close(moved, half, atol=0.05, rtol=0)


def test_a_mask_that_fills_the_view_stays() -> None:
    whole = torch.ones(4, 1, 32, 32)
    assert torch.equal(jittered(whole, 0.05), whole)


def test_lungs_stay_and_surroundings_come_from_another_film() -> None:
    count = 8
    lungs = _discs(count)
    # Film n: grey level 10 n outside its lungs and 200 + n inside.
    number = torch.arange(count).view(-1, 1, 1, 1).float()
    views = torch.where(lungs > 0.5, 200 + number, 10 * number).expand(count, 1, 64, 64)
    mixed = with_other_surroundings(views, lungs, 1.0)
    deep = (slice(None), 0, 32, 32)
    assert torch.equal(mixed[deep], views[deep])
    corners = mixed[:, 0, 0, 0]
    assert sorted(corners.tolist()) == [10.0 * n for n in range(count)]
    assert corners.tolist() != [10.0 * n for n in range(count)]


def test_nothing_shows_of_the_other_films_lungs() -> None:
    small, large = _discs(1), torch.ones(1, 1, 64, 64)
    large[..., :4] = 0
    views = torch.cat([torch.full((1, 1, 64, 64), 50.0), torch.where(large > 0.5, 255.0, 20.0)])
    for _ in range(20):
        mixed = with_other_surroundings(views, torch.cat([small, large]), 1.0)
        assert mixed[0].max() <= 50


def test_the_share_of_films_is_as_asked() -> None:
    lungs = _discs(400, 16)
    views = torch.where(lungs > 0.5, 200.0, torch.arange(400.0).view(-1, 1, 1, 1))
    assert torch.equal(with_other_surroundings(views, lungs, 0.0), views)
    changed = (with_other_surroundings(views, lungs, 0.3) != views).flatten(1).any(1).float().mean()
    assert 0.2 < changed < 0.4
