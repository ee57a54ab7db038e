from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from lungcls.explanation import Frame, energy_share
from lungcls.explanation.frame import interpolation
from lungcls.regions import Region, place, view

SHAPES = [(90, 140), (140, 90), (100, 100)]
# A lung box inside the image, and boxes that the margin pushes over a border.
BOXES = [(20, 25, 70, 80), (0, 0, 40, 60), (50, 40, 90, 90)]
CASES = list(product(SHAPES, BOXES))


def _smooth(shape: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (0.5 + 0.2 * np.sin(x / 17) + 0.2 * np.cos(y / 13)).astype(np.float32)


def _mask(shape: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@pytest.mark.parametrize(("shape", "box"), CASES)
@pytest.mark.parametrize("name", ["full", "crop"])
def test_a_view_maps_back_onto_the_image_that_it_was_cut_from(
    shape: tuple[int, int], box: tuple[int, int, int, int], name: str
) -> None:
    image, mask, region = _smooth(shape), _mask(shape, box), Region(name, margin=0.1)
    seen = view(image, mask, region, 128)
    frame = Frame.of(shape, mask, region, 128)
    back = frame.to_image((seen / 255).astype(np.float32))
    x0, y0, x1, y1 = frame.box
    assert back.shape == shape
    # A pixel inwards, where the bars of the letterbox are not interpolated in.
    inner = np.s_[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]
    np.testing.assert_allclose(back[inner], image[inner], atol=0.02)
    outside = np.ones(shape, np.bool_)
    outside[y0:y1, x0:x1] = False
    assert not back[outside].any()


@pytest.mark.parametrize(("shape", "box"), CASES)
def test_a_bright_spot_is_found_where_it_is(shape: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    mask, region = _mask(shape, box), Region("crop", margin=0.1)
    x, y = box[0] + 7, box[3] - 9
    image = np.zeros(shape, np.float32)
    image[y - 2 : y + 3, x - 2 : x + 3] = 1
    seen = view(image, mask, region, 128).astype(np.float32)
    coarse = seen.reshape(16, 8, 16, 8).mean(axis=(1, 3))
    frame = Frame.of(shape, mask, region, 128)
    cell = 8 * max(frame.box[2] - frame.box[0], frame.box[3] - frame.box[1]) / 128
    peak = frame.peak(coarse)
    assert peak is not None
    assert math.dist(peak, (x + 0.5, y + 0.5)) <= cell
    found_y, found_x = np.unravel_index(int(frame.to_image(coarse).argmax()), shape)
    assert math.dist((found_x, found_y), (x, y)) <= cell


def test_the_peak_of_a_border_cell_is_its_centre_and_an_empty_map_has_none() -> None:
    frame = Frame((80, 80), (0, 0, 80, 80), place((80, 80), 64))
    grid = np.zeros((4, 4), np.float32)
    assert frame.peak(grid) is None
    grid[0, 3] = 1
    assert frame.peak(grid) == (70.0, 10.0)


def test_interpolation_weights_sum_to_one_and_are_exact_at_the_centres() -> None:
    weights = interpolation(np.arange(64) + 0.5, 64, 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(interpolation(np.array([8.0, 24.0, 40.0, 56.0]), 64, 4), np.eye(4))
    assert (interpolation(np.arange(64) + 0.5, 64, 1) == 1).all()


def test_an_even_map_has_the_share_of_chance() -> None:
    mask = _mask((90, 140), (20, 25, 70, 80))
    frame = Frame.of((90, 140), mask, Region("crop", margin=0.1), 64)
    even = frame.to_image(np.ones((4, 4), np.float32))
    assert energy_share(even, mask) == pytest.approx(frame.chance(mask))


def test_no_map_passes_the_ceiling_and_the_best_cell_reaches_it() -> None:
    mask = _mask((90, 140), (20, 25, 70, 50))
    frame = Frame.of((90, 140), mask, Region("full"), 64)
    ceiling, matched = frame.limits((4, 4), mask)
    rng = np.random.default_rng(0)
    random = [energy_share(frame.to_image(rng.random((4, 4), np.float32) ** 8), mask) for _ in range(50)]
    single = []
    for row, column in product(range(4), range(4)):
        grid = np.zeros((4, 4), np.float32)
        grid[row, column] = 1
        single.append(energy_share(frame.to_image(grid), mask))
    assert max(random) <= ceiling
    assert np.nanmax(single) == pytest.approx(ceiling, abs=1e-6)
    assert frame.chance(mask) < matched < ceiling


def test_finer_maps_have_a_higher_ceiling() -> None:
    mask = _mask((96, 96), (30, 30, 50, 60))
    frame = Frame.of((96, 96), mask, Region("full"), 96)
    limits = [frame.limits((cells, cells), mask) for cells in (3, 6, 24, 96)]
    assert limits == sorted(limits)
    assert limits[-1][0] == pytest.approx(1)
    assert limits[-1][1] == pytest.approx(1, abs=0.02)


def test_what_lies_on_the_bars_is_counted_as_padding() -> None:
    frame = Frame((40, 80), (0, 0, 80, 40), place((40, 80), 64))
    grid = np.zeros((8, 8), np.float32)
    assert math.isnan(frame.padding_share(grid))
    grid[0] = 1
    assert frame.padding_share(grid) == pytest.approx(1)
    assert frame.padding_share(np.ones((8, 8), np.float32)) == pytest.approx(0.5)
    grid[:] = 0
    grid[3:5] = 1
    assert frame.padding_share(grid) < 0.05
