from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from skimage import segmentation
from skimage.measure import label

from lungcls.data import RadiographyDatabase
from lungcls.errors import WeightsError
from lungcls.images import read_image
from lungcls.phantom import chest_phantom
from lungcls.regions import letterbox
from lungcls.segmenter import Segmenter, clean_up


def _mask(text: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in row] for row in text.split()])


TOY = _mask(
    """
    ..........
    .###..###.
    .#.#..###.
    .###..###.
    ......#...
    .#....#.#.
    .#........
    """
)


def test_holes_are_filled_and_two_parts_kept() -> None:
    expected = _mask(
        """
        ..........
        .###..###.
        .###..###.
        .###..###.
        ......#...
        ......#...
        ..........
        """
    )
    np.testing.assert_array_equal(clean_up(TOY), expected)


def test_both_have_switches() -> None:
    np.testing.assert_array_equal(clean_up(TOY, fill_holes=False, keep_parts=0), TOY)
    filled = TOY.copy()
    filled[2, 2] = True
    np.testing.assert_array_equal(clean_up(TOY, keep_parts=0), filled)
    only_parts = TOY.copy()
    only_parts[5:, 1] = only_parts[5, 8] = False
    np.testing.assert_array_equal(clean_up(TOY, fill_holes=False), only_parts)
    largest = np.zeros_like(TOY)
    largest[1:4, 6:9] = largest[4:6, 6] = True
    np.testing.assert_array_equal(clean_up(TOY, keep_parts=1), largest)
    np.testing.assert_array_equal(clean_up(TOY, keep_parts=9), filled)


def test_clean_up_is_that_of_scikit_image() -> None:
    generator = np.random.default_rng(0)
    for density in (0.3, 0.5, 0.6, 0.75):
        mask = generator.random((40, 50)) < density
        filled = mask | segmentation.clear_border(~mask)
        np.testing.assert_array_equal(clean_up(mask, keep_parts=0), filled)
        labels = label(filled, connectivity=1)
        areas = np.bincount(labels.ravel())[1:]
        largest = np.isin(labels, np.argsort(areas, kind="stable")[-2:] + 1)
        np.testing.assert_array_equal(clean_up(mask), largest)


def test_a_bay_at_the_border_is_no_hole() -> None:
    bay = _mask(".##.. .#.## .##.. ##... .####")  # the pixel (4, 0) is cut off by the picture's edge
    np.testing.assert_array_equal(clean_up(bay, keep_parts=0), bay)


@pytest.mark.parametrize("value", [False, True])
def test_uniform_masks_stay(value: bool) -> None:
    mask = np.full((5, 7), value)
    np.testing.assert_array_equal(clean_up(mask), mask)


def test_input_is_left_alone() -> None:
    mask = TOY.copy()
    clean_up(mask)
    np.testing.assert_array_equal(mask, TOY)


class _Brightness:
    """Stands in for a trained network: what is bright in the view is lung."""

    calls = 0

    def __call__(self, views: np.ndarray) -> np.ndarray:
        self.calls += 1
        return 20 * (views[:, None] / np.float32(255) - np.float32(0.5))


def _bright(size: int = 64, **options: Any) -> Segmenter:
    card: Any = SimpleNamespace(input_size=size, thresholds={"mask": 0.5}, tone="range")
    network: Any = _Brightness()
    return Segmenter(card, network, **options)


def _discs(shape: tuple[int, int], *discs: tuple[float, float, float]) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.any([(rows - y) ** 2 + (columns - x) ** 2 <= r**2 for y, x, r in discs], axis=0)


@pytest.mark.parametrize("shape", [(64, 64), (200, 150), (150, 200), (40, 48), (333, 333)])
def test_masks_come_back_at_the_images_own_size_and_place(shape: tuple[int, int]) -> None:
    height, width = shape
    radius = 0.2 * min(shape)
    truth = _discs(shape, (height * 0.5, width * 0.25, radius), (height * 0.55, width * 0.75, radius))
    (mask,) = _bright().segment([truth.astype(np.float32)])
    assert mask.shape == shape
    assert mask.dtype == np.bool_
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.98


def test_one_batch_of_different_sizes_equals_one_by_one() -> None:
    images = [chest_phantom(size, seed=3).image for size in ((64, 64), (90, 120), (50, 40))]
    segmenter = _bright()
    together = segmenter.segment(images)
    assert segmenter.network.calls == 1
    for image, mask in zip(images, together):
        np.testing.assert_array_equal(segmenter.segment([image])[0], mask)


def test_clean_up_reaches_the_original_size() -> None:
    shape = (256, 256)
    lungs = _discs(shape, (128, 70, 40), (128, 186, 40))
    hole, speck = _discs(shape, (128, 70, 10)), _discs(shape, (30, 128, 10))
    image = ((lungs & ~hole) | speck).astype(np.float32)
    (cleaned,) = _bright().segment([image])
    assert cleaned[hole].all()
    assert not cleaned[speck].any()
    (raw,) = _bright(fill_holes=False, keep_parts=0).segment([image])
    assert not raw[_discs(shape, (128, 70, 6))].any()
    assert raw[_discs(shape, (30, 128, 6))].all()


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_nothing_or_everything_is_no_crash(value: float) -> None:
    masks = _bright().segment([np.full((50, 70), value, np.float32)])
    assert masks[0].all() if value == 1 else not masks[0].any()


def test_one_lung_is_no_crash() -> None:
    truth = _discs((128, 128), (64, 40, 25))
    (mask,) = _bright().segment([truth.astype(np.float32)])
    assert label(mask).max() == 1


def test_no_images() -> None:
    assert _bright().segment([]) == []


def test_load(tiny_segmenter: Path) -> None:
    segmenter = Segmenter.load(tiny_segmenter, "cpu", keep_parts=1)
    assert (segmenter.keep_parts, segmenter.fill_holes) == (1, True)
    views = np.stack([letterbox(chest_phantom(80, seed=seed).image, 64)[0] for seed in range(3)])
    probabilities = segmenter.probabilities(views)
    assert probabilities.shape == views.shape
    assert probabilities.dtype == np.float32
    assert 0 <= probabilities.min() < probabilities.max() <= 1
    # A picture's answer does not depend on its neighbours in the batch.
    np.testing.assert_allclose(segmenter.probabilities(views[1:2])[0], probabilities[1], atol=1e-5)


def test_a_classifiers_weights_are_refused(tiny_classifier: Path) -> None:
    expected = r"tiny-classifier\.safetensors: these weights are for classification; expected .* segmentation"
    with pytest.raises(WeightsError, match=expected):
        Segmenter.load(tiny_classifier, "cpu")


def test_real_images(real_data: Path, tiny_segmenter: Path) -> None:
    database = RadiographyDatabase(real_data / "radiography")
    images = [read_image(database.path(record)).pixels for record in database.records[::3000]]
    masks = Segmenter.load(tiny_segmenter, "cpu").segment(images)
    assert [mask.shape for mask in masks] == [image.shape for image in images]
