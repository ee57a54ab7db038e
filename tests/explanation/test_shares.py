from __future__ import annotations

import math

import numpy as np
import pytest

from lungcls.explanation import Frame, attention_shares, energy_share, lung_parts
from lungcls.explanation.shares import PARTS
from lungcls.regions import Region


def _lungs(gap: int = 10) -> np.ndarray:
    mask = np.zeros((60, 100), np.bool_)
    mask[10:40, 20 : 50 - gap // 2] = True
    mask[10:40, 50 + (gap + 1) // 2 : 90] = True
    return mask


def test_energy_share() -> None:
    cam = np.array([[1, 2], [3, 4]], np.float32)
    part = np.array([[True, False], [False, True]])
    assert energy_share(cam, part) == pytest.approx(0.5)
    assert math.isnan(energy_share(np.zeros((2, 2), np.float32), part))


@pytest.mark.parametrize("gap", [10, 0])
def test_lungs_are_told_apart_also_where_they_touch(gap: int) -> None:
    mask = _lungs(gap)
    if gap == 0:
        mask[:25, 40:60] = False  # they touch below only
    parts = lung_parts(mask)
    assert parts["image_left"].any()
    assert not parts["image_left"][:, 53:].any()
    assert parts["image_right"].any()
    assert not parts["image_right"][:, :47].any()


@pytest.mark.parametrize(("columns", "side"), [((5, 40), "image_left"), ((60, 95), "image_right")])
def test_a_single_lung_is_on_its_side(columns: tuple[int, int], side: str) -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[10:90, columns[0] : columns[1]] = True
    parts = lung_parts(mask)
    assert (parts[side] == mask).all()
    other = {"image_left": "image_right", "image_right": "image_left"}[side]
    assert not parts[other].any()


def test_islands_go_to_the_nearer_lung() -> None:
    mask = _lungs()
    mask[50:52, 5:8] = True
    assert lung_parts(mask)["image_left"][50:52, 5:8].all()


def test_lungs_and_zones_add_up() -> None:
    mask = _lungs()
    parts = lung_parts(mask)
    assert tuple(parts) == PARTS
    for names in (("image_left", "image_right"), ("upper", "middle", "lower")):
        assert (sum(parts[name].astype(int) for name in names) == mask).all()
    assert [int(np.flatnonzero(parts[name].any(axis=1))[0]) for name in ("upper", "middle", "lower")] == [
        10,
        20,
        30,
    ]


def test_an_empty_mask_has_no_share_and_an_empty_map_none_that_means_anything() -> None:
    empty = np.zeros((60, 100), np.bool_)
    frame = Frame.of((60, 100), None, Region("full"), 64)
    shares = attention_shares(np.ones((4, 4), np.float32), frame, empty)
    assert all(shares[name] == 0 for name in PARTS)
    shares = attention_shares(np.zeros((4, 4), np.float32), frame, _lungs())
    assert all(math.isnan(shares[name]) for name in (*PARTS, "padding"))


def test_a_map_in_one_zone_of_one_lung_is_told_to_be_there() -> None:
    mask = _lungs()
    frame = Frame.of(mask.shape, mask, Region("full"), 100)
    grid = np.zeros((100, 100), np.float32)
    grid[20 + 12 : 20 + 18, 25:40] = 1  # 20 rows of bar above the image; its rows 12 to 17 are upper
    shares = attention_shares(grid, frame, mask)
    assert shares["lungs"] == pytest.approx(1)
    assert (shares["image_left"], shares["upper"]) == pytest.approx((1, 1))
    assert (shares["image_right"], shares["middle"], shares["lower"]) == pytest.approx((0, 0, 0))
    assert shares["lungs_chance"] == pytest.approx(mask.mean())
    for name in PARTS:
        assert shares[name] <= shares[f"{name}_ceiling"] + 1e-6
        assert shares[f"{name}_matched"] <= shares[f"{name}_ceiling"] + 1e-6
