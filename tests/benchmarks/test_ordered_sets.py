"""What it costs to fill the gaps of conformal sets."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
INSIDE = np.array([[True, False, True], [False, False, False]])


def test_gaps_are_filled_and_no_set_is_empty(benchmark_script: Callable[[str], ModuleType]) -> None:
    sets = benchmark_script("ordered_sets").kinds_of_sets(PROBABILITIES, INSIDE)
    as_given, with_first, ordered = sets.values()
    np.testing.assert_array_equal(as_given, INSIDE)
    np.testing.assert_array_equal(with_first, [[True, False, True], [False, False, True]])
    np.testing.assert_array_equal(ordered, [[True, True, True], [False, False, True]])


def test_the_table_is_made_from_what_is_published(benchmark_script: Callable[[str], ModuleType]) -> None:
    script = benchmark_script("ordered_sets")
    text = benchmark_script("documents").ordered_sets()
    assert all(name in text for name in ("classifier-mask", "classifier-crop", "classifier-full"))
    assert script.COVERAGES == (0.8, 0.9, 0.95, 0.99)
