from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungcls.errors import ImageError
from lungcls.phantom import chest_phantom
from lungcls.prediction import Failure, Segmentation
from lungcls.quality import mask_quality
from lungcls.regions import lung_box


def segmentation(mask: Any, origin: Any, **changes: Any) -> Segmentation:
    values = {
        "path": "a.png",
        "lung_mask": mask,
        "box": lung_box(mask),
        "quality": mask_quality(mask),
        "pixel_spacing": None,
        "segmenter": "none",
        "_origin": origin,
        "_options": {},
    }
    return Segmentation(**{**values, **changes})


def test_overlay_tints_the_lungs_and_leaves_the_rest() -> None:
    phantom = chest_phantom((120, 150))
    drawn = np.asarray(segmentation(phantom.mask, phantom.image).overlay()).astype(int)
    assert drawn.shape == (120, 150, 3)
    grey = np.rint(phantom.image * 255)
    outside = ~phantom.mask
    assert np.array_equal(drawn[outside], np.repeat(grey[outside][:, None], 3, axis=1))
    assert (drawn[phantom.mask][:, 2] > drawn[phantom.mask][:, 0]).all()


def test_overlay_outlines_the_lungs_so_that_it_is_seen_on_large_films() -> None:
    for side, width in ((500, 1), (2500, 3)):
        mask = np.zeros((side, side), bool)
        mask[side // 4 : side // 2, side // 4 : side // 2] = True
        drawn = np.asarray(segmentation(mask, np.full((side, side), 0.5, np.float32)).overlay())
        line = (drawn[side // 3] == np.rint([64, 191, 255])).all(axis=1)
        assert width <= line[: side * 3 // 8].sum() <= 2 * width


def test_overlay_of_an_empty_and_of_a_full_mask() -> None:
    pixels = chest_phantom(40).image
    empty = np.asarray(segmentation(np.zeros((40, 40), bool), pixels).overlay())
    assert np.array_equal(empty[..., 0], np.rint(pixels * 255))
    full = np.asarray(segmentation(np.ones((40, 40), bool), pixels).overlay()).astype(int)
    assert (full[..., 2] >= full[..., 0]).all()


def test_overlay_does_not_change_the_image() -> None:
    phantom = chest_phantom(64)
    before = phantom.image.copy()
    segmentation(phantom.mask, phantom.image).overlay()
    assert np.array_equal(phantom.image, before)


def test_overlay_of_a_file_reads_it_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pixels = np.rint(chest_phantom(64).image * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    found = segmentation(np.zeros((64, 64), bool), str(path))
    assert np.array_equal(np.asarray(found.overlay())[..., 1], pixels)
    Image.fromarray(pixels[:32]).save(path)
    with pytest.raises(ImageError, match=r"a\.png.*changed"):
        found.overlay()
    path.unlink()
    with pytest.raises(ImageError, match=r"a\.png"):
        found.overlay()


def test_to_dict_without_lungs_and_with_spacing() -> None:
    values = segmentation(np.zeros((4, 6), bool), "a.png", pixel_spacing=(0.2, 0.3)).to_dict()
    json.dumps(values, allow_nan=False)
    assert values["box"] is None
    assert values["pixel_spacing"] == [0.2, 0.3]
    assert (values["height"], values["width"]) == (4, 6)


def test_frozen_and_short_in_print() -> None:
    found = segmentation(np.zeros((4, 6), bool), "/secret/origin")
    with pytest.raises(FrozenInstanceError):
        found.path = "b.png"  # type: ignore[misc]
    assert "/secret/origin" not in repr(found)


def test_failure() -> None:
    failure = Failure("a.png", ImageError("a.png: broken"))
    assert failure.to_dict() == {"path": "a.png", "error": "a.png: broken"}
    with pytest.raises(FrozenInstanceError):
        failure.path = "b.png"  # type: ignore[misc]
