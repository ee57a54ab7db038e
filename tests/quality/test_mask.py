from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from lungcls.phantom import chest_phantom
from lungcls.quality import MIN_AREA, MIN_BALANCE, MIN_MERGED_WIDTH, mask_quality
from lungcls.quality.mask import MAX_TILT, MIN_AGREEMENT


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
    assert (small.lungs, small.both_lungs) == (2, True)


def test_lungs_that_touch_are_two() -> None:
    touching = mask_quality(rectangles((10, 20, 40, 80), (60, 20, 90, 80), (40, 40, 60, 45)))
    assert (touching.ok, touching.lungs, touching.balance) == (True, 2, 1.0)
    wide = mask_quality(rectangles((10, 10, 10 + round(MIN_MERGED_WIDTH * 80), 90)))
    assert wide.lungs == 2
    narrow = mask_quality(rectangles((10, 10, 8 + round(MIN_MERGED_WIDTH * 80), 90)))
    assert narrow.lungs == 1


def test_corners_do_not_join() -> None:
    assert mask_quality(rectangles((10, 10, 30, 50), (30, 50, 50, 90))).balance == 1.0


def names(mask: np.ndarray, agreement: float | None = None) -> list[str]:
    return [reason.name for reason in mask_quality(mask, agreement).reasons]


def test_everything_is_too_large_a_mask_that_reaches_beyond_the_image() -> None:
    found = mask_quality(np.ones((8, 8), bool))
    assert found.mask_area == 1.0
    assert {reason.name for reason in found.reasons} == {"mask_too_large", "cut_off"}


def test_lungs_one_above_the_other_are_tilted() -> None:
    found = mask_quality(rectangles((30, 5, 70, 45), (30, 55, 70, 95)))
    (tilted,) = (reason for reason in found.reasons if reason.name == "tilted")
    assert tilted.value == pytest.approx(90)
    assert tilted.threshold == MAX_TILT
    assert "tilted" not in names(rectangles((5, 20, 45, 80), (55, 30, 95, 90)))


def test_lungs_beyond_the_border_are_cut_off() -> None:
    assert "cut_off" in names(rectangles((0, 0, 40, 60), (60, 0, 100, 60)))
    assert names(rectangles((5, 5, 40, 65), (60, 5, 95, 65))) == []


def test_a_torn_mask_is_ragged() -> None:
    torn = rectangles((10, 10, 45, 90), (55, 10, 90, 90))
    torn[::2] = False
    torn[:, [27, 72]] = True
    torn[:5] = torn[95:] = False
    assert "ragged_mask" in names(torn)


def test_agreement_is_judged_where_it_is_known() -> None:
    lungs = rectangles((10, 20, 40, 80), (60, 20, 90, 80))
    assert names(lungs, MIN_AGREEMENT - 0.01) == ["unsure_mask"]
    assert names(lungs, MIN_AGREEMENT) == names(lungs) == []
    assert mask_quality(lungs, 0.9).values["agreement"] == 0.9


def test_oblong_pixels_are_judged_as_the_film_is() -> None:
    lungs = rectangles((10, 20, 30, 70), (60, 40, 80, 90))
    square = mask_quality(lungs)
    for oblong, aspect in ((lungs[::2], 2.0), (lungs[:, ::2], 0.5)):
        assert mask_quality(oblong, aspect=aspect).values == pytest.approx(square.values, rel=0.05)
        assert mask_quality(oblong).values["tilt"] != pytest.approx(square.values["tilt"], rel=0.2)


def test_a_large_film_gives_what_a_small_one_does() -> None:
    small = rectangles((10, 20, 40, 80), (60, 30, 90, 85))
    large = np.kron(small, np.ones((13, 13), bool))
    a, b = mask_quality(small), mask_quality(large)
    assert (a.lungs, a.mask_area) == (b.lungs, pytest.approx(b.mask_area))
    assert a.balance == pytest.approx(b.balance, abs=0.02)
    for name, value in a.values.items():
        assert b.values[name] == pytest.approx(value, abs=0.03 if name != "tilt" else 1), name


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
