"""What a bias by class is worth, on validation alone."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("class_bias")


def _logits(seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Of a network that takes a rare class for as likely as the others."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=2000, p=[0.8, 0.15, 0.05])
    logits = rng.normal(size=(2000, 3))
    logits[np.arange(2000), labels] += 1.5
    return logits, labels, [str(index // 2) for index in range(2000)]


def test_a_bias_makes_up_for_classes_that_are_not_equally_frequent(script: ModuleType) -> None:
    logits, labels, groups = _logits()
    plain, biased = (script.held_out(logits, labels, groups, bias) for bias in (False, True))
    rows = np.arange(len(labels))
    assert np.log(biased[rows, labels]).mean() > np.log(plain[rows, labels]).mean() + 0.05
    assert (biased.argmax(1) == labels).mean() > (plain.argmax(1) == labels).mean() + 0.05


def test_no_image_is_measured_by_what_was_fitted_on_it(script: ModuleType) -> None:
    logits, labels, groups = _logits()
    before = script.held_out(logits, labels, groups, True)
    changed = labels.copy()
    changed[:2] = 2 - changed[:2]  # one group
    after = script.held_out(logits, changed, groups, True)
    np.testing.assert_array_equal(before[:2], after[:2])
    assert not np.array_equal(before, after)
