"""A model is asked once about each view."""

from __future__ import annotations

import numpy as np

from lungcls.regions import Region
from lungcls.shortcuts.memory import Memory


class Counting:
    name, region, classes, input_size = "counting", Region("full"), ("a", "b"), 4

    def __init__(self, sign: int = 1) -> None:
        self.sign, self.asked = sign, 0

    def logits(self, views: np.ndarray) -> np.ndarray:
        self.asked += len(views)
        means = self.sign * views.reshape(len(views), -1).mean(axis=1)
        return np.stack([means, -means], axis=1).astype(np.float32)


def test_views_are_known_by_their_pixels_and_models_by_themselves() -> None:
    views = np.random.default_rng(0).integers(0, 256, (150, 4, 4), dtype=np.uint8)
    shown = np.concatenate([views, views[::-1]])
    memory, one, other = Memory(), Counting(), Counting(-1)
    found = memory.logits(one, shown)
    assert np.array_equal(found, Counting().logits(shown))
    assert one.asked == 150
    assert np.array_equal(memory.logits(other, views), -found[:150])
    assert np.array_equal(memory.logits(one, shown[100:200]), found[100:200])
    assert (one.asked, other.asked) == (150, 150)
