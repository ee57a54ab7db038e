"""Where lungs land when they are swapped, and what the parts of an image are."""

from __future__ import annotations

import numpy as np
import pytest

from lungcls.phantom import chest_phantom
from lungcls.regions import lung_box
from lungcls.shortcuts.changes import CHANGES
from lungcls.shortcuts.compose import compose, lung_shape, overlaps
from lungcls.shortcuts.parts import image_parts


def _two_bars(shape: tuple[int, int], x: int, y: int, width: int, height: int) -> np.ndarray:
    """Two lungs as bars, each a third of the box."""
    mask = np.zeros(shape, bool)
    third = width // 3
    mask[y : y + height, x : x + third] = True
    mask[y : y + height, x + width - third : x + width] = True
    return mask


def test_lungs_land_in_the_place_and_size_of_those_they_replace() -> None:
    source, target = _two_bars((80, 80), 10, 5, 30, 40), _two_bars((120, 100), 20, 30, 60, 60)
    giver = np.where(source, 0.9, 0.5).astype(np.float32)
    taker = np.where(target, 0.1, 0.3).astype(np.float32)
    composite, mask = compose(giver, source, taker, target)
    assert composite.shape == mask.shape == (120, 100)
    assert lung_box(mask) == (20, 30, 80, 90)
    assert (mask == target).mean() > 0.99
    # Inside the lungs the giver's, far away the taker's, and nothing of the taker's lungs anywhere.
    assert composite[60, 25] == pytest.approx(0.9, abs=0.01)
    assert composite[60, 50] == pytest.approx(0.3, abs=0.01)
    assert composite[5, 5] == pytest.approx(0.3)
    assert composite.min() > 0.25


def test_smaller_lungs_leave_nothing_of_the_larger_ones_behind() -> None:
    wide = _two_bars((90, 90), 15, 15, 60, 60)
    narrow = wide.copy()
    narrow[15:45, 15:30] = False  # an upper half is missing, the box stays
    composite, mask = compose(
        np.full((90, 90), 0.8, np.float32), narrow, np.where(wide, 0.0, 0.4).astype(np.float32), wide
    )
    assert mask.sum() < wide.sum()
    assert composite[wide].min() == pytest.approx(0.8)


def test_the_edge_is_blended() -> None:
    mask = _two_bars((200, 200), 50, 50, 90, 90)
    composite, _ = compose(np.ones((200, 200), np.float32), mask, np.zeros((200, 200), np.float32), mask)
    row = composite[100, 20:55]
    assert row[0] == 0
    assert row[-1] == 1
    assert 0 < row[29] < 1
    assert (np.diff(row) >= 0).all()


def test_shapes_compare_without_place_and_size() -> None:
    one, two = _two_bars((60, 60), 5, 5, 30, 30), _two_bars((100, 100), 40, 10, 60, 60)
    other = np.zeros((60, 60), bool)
    other[10:50, 10:50] = True
    shapes = np.stack([lung_shape(two), lung_shape(other)])
    found = overlaps(shapes, lung_shape(one))
    assert found[0] > 0.9 > found[1]
    with pytest.raises(ValueError, match="empty"):
        compose(np.ones((4, 4), np.float32), np.zeros((4, 4), bool), np.ones((4, 4), np.float32), other)


def test_parts_lie_where_their_names_say() -> None:
    mask = _two_bars((100, 100), 20, 25, 60, 50)
    parts = image_parts(mask)
    assert list(parts) == ["corners", "borders", "shoulders", "mediastinum", "diaphragm", "lungs"]
    for name, part in parts.items():
        assert part.any()
        assert (name == "lungs") or not (part & mask).any()
    assert parts["corners"][2, 2]
    assert not parts["corners"][2, 50]
    assert parts["borders"][50, 2]
    assert parts["shoulders"][20, 22]
    assert not parts["shoulders"][20, 50]
    assert parts["mediastinum"][50, 50]
    assert not parts["mediastinum"][50, 5]
    assert parts["diaphragm"][80, 25]
    assert not parts["diaphragm"][80, 50]  # below the heart, not below a lung
    with pytest.raises(ValueError, match="empty"):
        image_parts(np.zeros((10, 10), bool))


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_changes_a_little(name: str) -> None:
    phantom = chest_phantom((120, 100), seed=1)
    rng = np.random.default_rng(0)
    pixels, mask = CHANGES[name](phantom.image, phantom.mask, rng)
    assert pixels.shape == mask.shape == (120, 100)
    assert (pixels.dtype, mask.dtype) == (np.float32, bool)
    assert 0 <= pixels.min() <= pixels.max() <= 1
    assert 0 < np.abs(pixels - phantom.image).mean() < 0.2
    moves = name.startswith(("rotated", "shifted"))
    assert (mask != phantom.mask).any() == moves
    # Whatever moves, the mask moves along: the lungs stay darker than what is around them.
    assert pixels[mask].mean() < pixels[~mask].mean() + 0.3
