"""Masks are divided into lungs: apart, touching, in several parts, single."""

from __future__ import annotations

import numpy as np
import pytest

from lungcls.phantom import chest_phantom
from lungcls.quality.pair import LungPair, pair_of_lungs

MASK = chest_phantom(200, seed=3).mask
MIDDLE = MASK.shape[1] // 2
LEFT, RIGHT = (MASK & (np.arange(200) < MIDDLE)), (MASK & (np.arange(200) >= MIDDLE))


def divided(mask: np.ndarray, axis: int = 1) -> LungPair:
    """The lungs of a mask, of which nothing may be lost or double."""
    found = pair_of_lungs(mask, axis)
    assert found is not None
    assert (found.first | found.second == mask).all()
    assert not (found.first & found.second).any()
    return found


def bridged(width: int) -> np.ndarray:
    """The two lungs with a bridge between them, `width` pixels high, from row 90 on."""
    mask = MASK.copy()
    mask[90 : 90 + width, 60:140] = True
    return mask


def test_lungs_that_lie_apart() -> None:
    found = divided(MASK)
    assert (found.first == LEFT).all()
    assert found.contact is None


@pytest.mark.parametrize("width", range(1, 11))
def test_a_bridge_is_cut_and_each_lung_keeps_all_its_pixels(width: int) -> None:
    found = divided(bridged(width))
    assert (found.first & MASK == LEFT).all()
    assert (found.second & MASK == RIGHT).all()
    assert found.contact == (90, 90 + width)


@pytest.mark.parametrize("overlap", [1, 2])
def test_lungs_that_overlap_over_the_mediastinum(overlap: int) -> None:
    rows = np.flatnonzero(LEFT.any(axis=1) & RIGHT.any(axis=1))
    gap = min(int(np.flatnonzero(RIGHT[row])[0] - np.flatnonzero(LEFT[row])[-1]) for row in rows)
    moved = np.roll(RIGHT, -(gap - 1 + overlap), axis=1)
    found = divided(LEFT | moved)
    wrong = (LEFT & ~moved & ~found.first) | (moved & ~LEFT & ~found.second)
    assert wrong.sum() <= 0.002 * MASK.sum()
    assert found.contact is not None


def test_lungs_that_overlap_too_much_are_not_divided() -> None:
    moved = np.roll(RIGHT, -(int(np.flatnonzero(RIGHT.any(axis=0))[0]) - MIDDLE + 60), axis=1)
    assert pair_of_lungs(LEFT | moved) is None


def test_a_film_on_its_side_is_divided_along_its_columns() -> None:
    mask = bridged(6).T
    found = divided(np.ascontiguousarray(mask), axis=0)
    lungs = [found.first & MASK.T, found.second & MASK.T]
    assert any((lung == LEFT.T).all() for lung in lungs)
    assert any((lung == RIGHT.T).all() for lung in lungs)


def test_a_large_film_is_divided_as_a_small_one() -> None:
    step = 5
    found = divided(np.kron(bridged(6), np.ones((step, step), bool)))
    expected = np.kron(LEFT, np.ones((step, step), bool))
    assert (found.first & expected).sum() >= 0.999 * expected.sum()
    assert not (found.second & expected).any()


@pytest.mark.parametrize("lung", [LEFT, RIGHT])
def test_a_single_lung_stays_one(lung: np.ndarray) -> None:
    assert pair_of_lungs(lung) is None


def test_what_touches_over_its_whole_height_is_not_divided() -> None:
    mask = np.zeros((100, 120), bool)
    mask[20:80, 10:110] = True
    assert pair_of_lungs(mask) is None
    assert pair_of_lungs(mask & False) is None


@pytest.mark.parametrize("gap", [1, 8])
def test_a_lung_in_three_parts_is_one_lung(gap: int) -> None:
    rows = np.flatnonzero(LEFT.any(axis=1))
    first, second = (int(rows[0] + np.ptp(rows) * share) for share in (0.35, 0.7))
    mask = MASK.copy()
    for row in (first, second):
        mask[row : row + gap, :MIDDLE] = False
    assert (divided(mask).first == LEFT & mask).all()


def test_a_lung_in_two_halves_beside_a_smaller_one() -> None:
    mask = np.zeros((120, 120), bool)
    mask[10:55, 10:50] = mask[60:105, 10:50] = True
    mask[40:80, 70:100] = True
    found = divided(mask)
    assert (found.first == mask & (np.arange(120) < 60)).all()


def test_lungs_above_each_other_are_two_where_none_is_beside() -> None:
    assert (divided(MASK.T.copy()).first | divided(MASK.T.copy()).second == MASK.T).all()
