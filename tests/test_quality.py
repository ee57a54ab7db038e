from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from lungcls.phantom import chest_phantom
from lungcls.quality import MIN_AREA, MIN_BALANCE, MIN_MERGED_WIDTH, mask_quality


def rectangles(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of 100 x 100 pixels that is True in the boxes (x0, y0, x1, y1)."""
    mask = np.zeros((100, 100), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def test_two_lungs() -> None:
    found = mask_quality(rectangles((10, 20, 30, 70), (60, 20, 80, 60)))
    assert found.ok
    assert found.reasons == ()
    assert found.mask_area == pytest.approx(0.18)
    assert (found.lungs, found.balance) == (2, pytest.approx(0.8))


@pytest.mark.parametrize("mask", [np.zeros((5, 7), bool), rectangles((0, 0, 10, 10), (50, 50, 60, 60))])
def test_too_little_is_no_lungs(mask: np.ndarray) -> None:
    found = mask_quality(mask)
    assert (found.ok, found.lungs) == (False, 0)
    (reason,) = found.reasons
    assert reason.name == "no_lungs"
    assert (reason.value, reason.threshold) == (mask.mean(), MIN_AREA)
    assert f"{mask.mean():.1%}" in reason.message


def test_one_lung() -> None:
    found = mask_quality(rectangles((10, 20, 40, 80)))
    assert (found.ok, found.lungs, found.balance) == (False, 1, 0.0)
    assert [reason.name for reason in found.reasons] == ["one_lung"]


def test_a_crumb_is_no_second_lung() -> None:
    lung = (10, 10, 40, 90)  # 2,400 pixels
    crumb = mask_quality(rectangles(lung, (60, 10, 80, 27)))
    assert (crumb.lungs, crumb.balance) == (1, pytest.approx(340 / 2400))
    assert crumb.reasons[0].threshold == MIN_BALANCE
    small = mask_quality(rectangles(lung, (60, 10, 80, 29)))
    assert (small.lungs, small.ok) == (2, True)


def test_lungs_that_touch_are_two() -> None:
    touching = mask_quality(rectangles((10, 20, 40, 80), (60, 20, 90, 80), (40, 40, 60, 45)))
    assert (touching.ok, touching.lungs, touching.balance) == (True, 2, 1.0)
    wide = mask_quality(rectangles((10, 10, 10 + round(MIN_MERGED_WIDTH * 80), 90)))
    assert wide.lungs == 2
    narrow = mask_quality(rectangles((10, 10, 8 + round(MIN_MERGED_WIDTH * 80), 90)))
    assert narrow.lungs == 1


def test_corners_do_not_join() -> None:
    assert mask_quality(rectangles((10, 10, 30, 50), (30, 50, 50, 90))).balance == 1.0


def test_everything_is_no_crash() -> None:
    assert mask_quality(np.ones((8, 8), bool)).mask_area == 1.0


@pytest.mark.parametrize("size", [(80, 80), (200, 120), (90, 240)])
def test_phantoms_have_two_lungs(size: tuple[int, int]) -> None:
    assert all(mask_quality(chest_phantom(size, seed=seed).mask).ok for seed in range(3))


def test_frozen_and_safe_for_json() -> None:
    found = mask_quality(rectangles((10, 20, 40, 80)))
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (values["ok"], values["lungs"]) == (False, 1)
    assert values["reasons"][0]["name"] == "one_lung"
    with pytest.raises(FrozenInstanceError):
        found.lungs = 2  # type: ignore[misc]


def test_true_masks_pass(real_data: Path) -> None:
    from lungcls.data import open_dataset

    checked = 0
    for name in ("radiography", "montgomery", "shenzhen"):
        if not (real_data / name).is_dir():
            continue
        dataset = open_dataset(real_data / name)
        records = [record for record in dataset.records if record.mask]
        for record in records[:: max(1, len(records) // 150)]:
            found = mask_quality(dataset.read_mask(record))
            assert found.ok, (record.mask, found)
            checked += 1
    assert checked >= 150


def test_true_masks_with_one_lung_taken_away_do_not_pass(real_data: Path) -> None:
    from skimage import measure

    from lungcls.data import open_dataset

    dataset = open_dataset(real_data / "radiography")
    records = [record for record in dataset.records if record.mask]
    chosen = records[:: max(1, len(records) // 150)]
    caught = 0
    for record in chosen:
        labels = measure.label(dataset.read_mask(record), connectivity=1)
        largest = 1 + np.bincount(labels.ravel())[1:].argmax()
        caught += not mask_quality(labels == largest).ok
    assert caught >= 0.97 * len(chosen)
