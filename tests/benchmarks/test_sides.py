"""Lungs that are joined on purpose, and what counts as the wrong side."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import cc3d
import numpy as np
import pytest

from lungcls.phantom import chest_phantom


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("sides")


MASK = chest_phantom(256, seed=3).mask


def test_joined_lungs_are_one_part_of_the_two_that_are_named(script: ModuleType) -> None:
    left, right = script.two_lungs(MASK)
    assert (left | right == MASK).all()
    found = list(script.joined(left, right, np.random.default_rng(0)))
    assert len(found) == len(script.BRIDGES) + len(script.OVERLAPS)
    for way, mask, one, two in found:
        assert cc3d.connected_components(mask, connectivity=4).max() == 1, way
        assert not ((one | two) & ~mask).any()
        if way.startswith("overlap"):
            rows = (one & two).sum(axis=1)
            assert rows.max() == int(way.split()[2])


def test_pixels_on_the_wrong_side_are_counted(script: ModuleType) -> None:
    left, right = script.two_lungs(MASK)
    assert script.wrong_share(MASK, left, left, right) == 0
    assert script.wrong_share(MASK, right, left, right) == 1
    worse = left.copy()
    worse[np.nonzero(right)[0][:7], np.nonzero(right)[1][:7]] = True
    assert script.wrong_share(MASK, worse, left, right) == pytest.approx(7 / MASK.sum())
    bridged = script.join_rows({"phantom": [MASK]}, 0)[1]
    assert (bridged["joined by"], bridged["divided"]) == ("bridge of 3 px", 1)
    assert bridged["wrong side, worst"] == 0
    assert script.counted([MASK, left, MASK & False]) == {
        "films": 3,
        "apart": 1,
        "touching, divided": 0,
        "not divided": 2,
    }
