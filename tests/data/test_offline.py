from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lungcls.data.offline import add_copies, wanted_counts
from lungcls.errors import DataError

CLASSES = ("COVID", "Normal", "Other")
LABELS = np.repeat([0, 1, 2], [3, 9, 5]).astype(np.int64)


def _views() -> Any:
    """Constant views, of which each tells which it was."""
    return np.repeat(np.arange(10, 180, 10, dtype=np.uint8), 64).reshape(17, 8, 8)


def test_copies_come_from_all_images_of_the_class() -> None:
    views, labels = add_copies(_views(), LABELS, {0: 11}, "none", 0)
    assert np.bincount(labels).tolist() == [11, 9, 5]
    np.testing.assert_array_equal(views[:17], _views())
    copied, times = np.unique(views[17:, 0, 0], return_counts=True)
    assert copied.tolist() == [10, 20, 30]  # the three images of the class
    assert times.max() - times.min() <= 1


def test_copies_are_augmented_each_in_another_way_and_always_the_same() -> None:
    rng = np.random.default_rng(0)
    views = rng.integers(256, size=(17, 32, 32)).astype(np.uint8)
    first, _ = add_copies(views, LABELS, {0: 9}, "classification-light", 5)
    again, _ = add_copies(views, LABELS, {0: 9}, "classification-light", 5)
    other, _ = add_copies(views, LABELS, {0: 9}, "classification-light", 6)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first[17:].reshape(6, -1), axis=0)) == 6


def test_a_class_with_enough_images_is_left_alone() -> None:
    views, labels = add_copies(_views(), LABELS, {1: 4}, "none", 0)
    assert len(views) == len(labels) == 17


def test_the_minority_is_found() -> None:
    assert wanted_counts(LABELS, {"minority": 7, "Other": 6}, CLASSES) == {0: 7, 2: 6}


def test_classes_that_are_not_there_are_named() -> None:
    with pytest.raises(DataError, match=r"names the class 'Covid'; the dataset has COVID, Normal, Other"):
        wanted_counts(LABELS, {"Covid": 7}, CLASSES)
    with pytest.raises(DataError, match="no image of it is in training"):
        wanted_counts(LABELS[3:], {"COVID": 7}, CLASSES)
