from __future__ import annotations

import math

import numpy as np
import pytest

from lungcls.phantom import chest_phantom
from lungcls.regions import letterbox
from lungcls.uncertainty import MAX_SHIFT, changed_views, disagreement, entropy


@pytest.fixture(scope="module")
def views():
    return np.stack([letterbox(chest_phantom(128, seed=seed).image, 128)[0] for seed in range(3)])


def test_changes_are_small_and_all_differ(views):
    changed = np.stack([changed_views(views, number) for number in range(8)]).astype(float)
    assert changed.shape == (8, 3, 128, 128)
    plain = views.astype(float)
    for first in range(8):
        # Still the same film.
        assert np.corrcoef(changed[first, 0].ravel(), plain[0].ravel())[0, 1] > 0.5
        for second in range(first):
            assert np.abs(changed[first] - changed[second]).mean() > 1


def test_a_change_is_the_same_for_its_number_whatever_the_batch(views):
    again = changed_views(views[1:2], 5)
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(changed_views(views, 5)[1:2], again)


def test_a_point_stays_within_the_stated_bounds():
    view = np.zeros((1, 101, 101), np.uint8)
    view[0, 49:52, 49:52] = 255
    centres = []
    for number in range(40):
        moved = changed_views(view, number)[0].astype(float)
        assert moved.sum() > 0
        rows, columns = np.indices(moved.shape)
        centres.append([(moved * rows).sum() / moved.sum() - 50, (moved * columns).sum() / moved.sum() - 50])
    centres = np.asarray(centres)
    assert np.abs(centres).max() <= MAX_SHIFT * 101 + 0.5
    # Spread over the whole range, and about the place itself.
    assert np.abs(centres).max(axis=0).min() > 0.7 * MAX_SHIFT * 101
    assert np.abs(centres.mean(axis=0)).max() < 0.6


def test_entropy():
    assert entropy(np.array([1.0, 0, 0, 0])) == 0
    assert entropy(np.full(4, 0.25)) == pytest.approx(math.log(4))
    assert entropy(np.full((2, 3, 4), 0.25)).shape == (2, 3)


def test_disagreement_is_none_where_all_say_the_same_and_one_bit_between_two_certain_ones():
    same = np.tile([[0.7, 0.2, 0.1]], (5, 1))
    assert disagreement(same) == pytest.approx(0, abs=1e-12)
    assert disagreement(same) >= 0
    assert disagreement(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(math.log(2))
    assert disagreement(np.random.default_rng(0).dirichlet(np.ones(4), (3, 10))).shape == (10,)
