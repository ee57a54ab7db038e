from __future__ import annotations

import numpy as np
import pytest

from lungcls import tone
from lungcls.errors import OptionError
from lungcls.phantom import chest_phantom


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    return (0.1 + 0.8 * chest_phantom(300, seed=3).image).astype(np.float32)


def _window(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    first, last = np.percentile(pixels, (low, high))
    return np.clip((pixels - first) / (last - first), 0, 1).astype(np.float32)


def test_levels_are_those_of_every_film(film: np.ndarray) -> None:
    levelled = tone.level(film)
    np.testing.assert_allclose(np.percentile(levelled, (0.5, 99.5)), (0.005, 0.9), atol=1e-3)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.05), (0.3, 0.0), (0.21, 0.6), (0.0625, 0.0)])
def test_an_affine_change_of_grey_changes_nothing(film: np.ndarray, gain: float, offset: float) -> None:
    changed = (film * np.float32(gain) + np.float32(offset)).astype(np.float32)
    assert np.abs(tone.level(changed) - tone.level(film)).max() < 1e-4
    # Whatever the range of a film is, there is no cliff: `range` has one at a fifth.
    assert np.abs(tone.level(changed * np.float32(0.95)) - tone.level(changed)).max() < 1e-4


@pytest.mark.parametrize("steps", [255, 51, 4095, 16383])
def test_a_bit_depth_changes_no_more_than_its_step(film: np.ndarray, steps: int) -> None:
    coarse = (np.rint(film * steps) / steps).astype(np.float32)
    assert np.abs(tone.level(coarse) - tone.level(film)).max() < 2 / steps


@pytest.mark.parametrize("clipped", [0.1, 0.4])
def test_a_window_changes_what_it_clips_alone(film: np.ndarray, clipped: float) -> None:
    seen = _window(film, clipped, 100 - clipped)
    inner = (seen > 0) & (seen < 1)
    assert np.abs(tone.level(seen) - tone.level(film))[inner].max() < 0.02


def test_what_has_no_range_is_left_alone() -> None:
    for pixels in (
        np.full((5, 5), 0.3, np.float32),
        np.zeros((1, 1), np.float32),
        np.ones((2, 9), np.float32),
    ):
        assert tone.level(pixels) is pixels


def test_tones_by_name(film: np.ndarray) -> None:
    assert tone.TONES == ("range", "levels")
    np.testing.assert_array_equal(tone.apply(film), tone.stretch(film))
    np.testing.assert_array_equal(tone.apply(film, "levels"), tone.level(film))
    with pytest.raises(OptionError, match="unknown tone 'ranks'; the tones are range, levels"):
        tone.apply(film, "ranks")
