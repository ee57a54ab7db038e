from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from lungcls.phantom import chest_phantom


@pytest.mark.parametrize(
    ("size", "shape"), [(32, (32, 32)), (129, (129, 129)), ((96, 200), (96, 200)), ((200, 96), (200, 96))]
)
def test_shapes_types_and_range(size: int | tuple[int, int], shape: tuple[int, int]) -> None:
    phantom = chest_phantom(size)
    assert phantom.image.shape == phantom.mask.shape == shape
    assert phantom.image.dtype == np.float32
    assert phantom.mask.dtype == np.bool_
    assert 0.0 <= phantom.image.min() < 0.1
    assert 0.8 < phantom.image.max() <= 1.0


def test_seed_decides() -> None:
    first, again, other = chest_phantom(96, seed=5), chest_phantom(96, seed=5), chest_phantom(96, seed=6)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert (first.mask != other.mask).mean() > 0.01


def test_global_random_state_is_left_alone() -> None:
    np.random.seed(0)  # noqa: NPY002
    wanted = np.random.random(4)  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    chest_phantom(64)
    np.testing.assert_array_equal(np.random.random(4), wanted)  # noqa: NPY002


@pytest.mark.parametrize("seed", range(6))
def test_two_dark_lungs_without_the_heart(seed: int) -> None:
    phantom = chest_phantom(192, seed=seed)
    parts, _ = label(phantom.mask)
    areas = np.sort(np.bincount(parts.ravel())[1:])[::-1]
    assert len(areas) == 2
    assert areas[1] > 0.5 * areas[0]
    assert 0.15 < phantom.mask.mean() < 0.45
    # The heart lies to the right of the middle of the picture, so that lung is the smaller one.
    assert phantom.mask[:, :96].sum() > phantom.mask[:, 96:].sum()
    body = (phantom.image > 0.2) & ~phantom.mask
    assert phantom.image[phantom.mask].mean() < phantom.image[body].mean() - 0.2


def test_size_changes_only_the_sampling() -> None:
    small, large = chest_phantom(128, seed=2), chest_phantom(256, seed=2)
    halved = large.mask.reshape(128, 2, 128, 2).mean((1, 3)) >= 0.5
    assert (halved == small.mask).mean() > 0.99
    mean = large.image.reshape(128, 2, 128, 2).mean((1, 3))
    assert np.corrcoef(mean.ravel(), small.image.ravel())[0, 1] > 0.99


def test_opacity_brightens_the_lungs_and_leaves_the_rest() -> None:
    clear, hazy, white = (chest_phantom(128, seed=1, opacity=o) for o in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(clear.mask, white.mask)
    means = [p.image[p.mask].mean() for p in (clear, hazy, white)]
    assert means[0] + 0.05 < means[1] < means[2] - 0.05
    rows, columns = np.nonzero(~clear.mask)
    far = (rows > 110) | (columns < 8)
    np.testing.assert_allclose(
        clear.image[rows[far], columns[far]], white.image[rows[far], columns[far]], atol=0.03
    )


def test_letter_stands_at_its_shoulder() -> None:
    plain = chest_phantom(128, letter=None, noise=0.0).image
    for letter, half in (("R", slice(0, 64)), ("L", slice(64, 128))):
        changed = chest_phantom(128, letter=letter, noise=0.0).image != plain
        assert changed[:, half].sum() >= 10
        assert changed.sum() == changed[:, half].sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 16}, "at least 32"),
        ({"size": (512, 16)}, "at least 32"),
        ({"opacity": 1.5}, "opacity"),
        ({"noise": -0.1}, "noise"),
        ({"letter": "X"}, "letter"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chest_phantom(**arguments)  # type: ignore[arg-type]
