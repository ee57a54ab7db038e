from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungcls.errors import ImageError
from lungcls.finder import Finder
from lungcls.images import read_image
from lungcls.lungs import Lungs
from lungcls.phantom import chest_phantom
from lungcls.prediction import HIGH, MODERATE, Failure, Prediction, confidence_tier
from lungcls.quality import mask_quality


def segmentation(mask: Any, origin: Any, **changes: Any) -> Lungs:
    values = {
        "path": "a.png",
        "mask": mask,
        "quality": mask_quality(mask),
        "pixel_spacing": None,
        "segmenter": "none",
        **({"_source": origin} if isinstance(origin, str) else {"_pixels": origin}),
    }
    return Lungs(**{**values, **changes})


def test_overlay_tints_the_lungs_and_leaves_the_rest() -> None:
    phantom = chest_phantom((120, 150))
    drawn = np.asarray(segmentation(phantom.mask, phantom.image).overlay()).astype(int)
    assert drawn.shape == (120, 150, 3)
    grey = np.rint(phantom.image * 255)
    outside = ~phantom.mask
    assert np.array_equal(drawn[outside], np.repeat(grey[outside][:, None], 3, axis=1))
    assert (drawn[phantom.mask][:, 2] > drawn[phantom.mask][:, 0]).all()


def test_overlay_of_a_flat_image_is_as_bright_as_the_networks_see_it() -> None:
    phantom = chest_phantom((120, 150))
    flat = segmentation(phantom.mask, phantom.image * np.float32(4095 / 65535))
    assert np.asarray(flat.overlay())[~phantom.mask].max() > 200
    assert flat.pixels().max() < 0.1


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


def test_another_film_of_the_same_name_and_size_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pixels = np.rint(chest_phantom(64).image * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    found = Finder(None, None).find([read_image(path)])[0].without_pixels()
    assert np.array_equal(np.rint(found.pixels() * 255), pixels)
    pixels[5, 5] ^= 1
    Image.fromarray(pixels).save(path)
    with pytest.raises(ImageError, match=r"a\.png: found other pixels .* changed"):
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


def prediction(**changes: Any) -> Prediction:
    values = {
        "lungs": segmentation(chest_phantom(64).mask, "a.png"),
        "label": "Normal",
        "probabilities": {"COVID": 0.05, "Lung_Opacity": 0.2, "Normal": 0.74, "Viral Pneumonia": 0.01},
        "region": "mask",
        "fallback": False,
        "view": np.zeros((8, 8), np.uint8),
        "classifier": "tiny",
        "p_values": {"COVID": 0.04, "Lung_Opacity": 0.3, "Normal": 0.8, "Viral Pneumonia": 0.101},
        "coverage": 0.9,
    }
    return Prediction(**{**values, **changes})


def test_confidence_tier_and_second_class() -> None:
    found = prediction()
    assert (found.confidence, found.second, found.tier) == (0.74, "Lung_Opacity", "moderate")
    tiers = [confidence_tier(value) for value in (0.25, MODERATE - 1e-9, MODERATE, HIGH - 1e-9, HIGH, 1)]
    assert tiers == ["low", "low", "moderate", "moderate", "high", "high"]
    assert prediction(label="A", probabilities={"A": 1.0}, p_values=None).second is None


def test_conformal_sets_at_any_coverage() -> None:
    found = prediction()
    assert found.conformal_set == ("Normal", "Lung_Opacity", "COVID", "Viral Pneumonia")
    assert found.set_at(0.8) == ("Normal", "Lung_Opacity")
    assert found.set_at(0.99) == ("Normal", "Lung_Opacity", "COVID", "Viral Pneumonia")
    # The label is in its set even where nothing fits.
    assert found.set_at(0.1) == ("Normal",)
    with pytest.raises(ValueError, match="coverage is 90"):
        found.set_at(90)
    assert prediction(p_values=None, coverage=None).conformal_set == ()
    assert prediction(coverage=None).conformal_set == ()


def test_words() -> None:
    assert prediction().words() == (
        "Most like Normal: 74%, moderate confidence; second is Lung_Opacity with 20%; at 0.9 coverage: "
        "Normal, Lung_Opacity, COVID or Viral Pneumonia."
    )
    alone = prediction(probabilities={"Normal": 0.999, "COVID": 0.001}, p_values={"Normal": 1, "COVID": 0.01})
    assert alone.words() == (
        "Most like Normal: over 99%, high confidence; second is COVID with under 1%; at 0.9 coverage: "
        "Normal alone."
    )
    assert "coverage" not in prediction(coverage=None, p_values=None).words()
    empty = np.zeros((64, 64), bool)
    doubtful = prediction(lungs=segmentation(empty, "a.png"), fallback=True).words()
    assert "low confidence" in doubtful
    assert "answered for the whole film by tiny" in doubtful
    assert "doubtful, as the lung mask covers 0.0% of the image" in doubtful


def test_a_withheld_label_has_no_second_class_and_no_set() -> None:
    withheld = prediction(label=None)
    assert (
        withheld.confidence,
        withheld.second,
        withheld.tier,
        withheld.conformal_set,
        withheld.set_at(0.99),
    ) == (
        None,
        None,
        "low",
        (),
        (),
    )
    assert withheld.words().startswith("No label is given: ")
    values = json.loads(json.dumps(withheld.to_dict(), allow_nan=False))
    assert (values["label"], values["second"], values["conformal_set"]) == (None, None, [])


def test_to_dict_says_how_far_to_believe() -> None:
    spread = {"COVID": 0.1, "Lung_Opacity": 0.1, "Normal": 0.2, "Viral Pneumonia": 0.0}
    values = prediction(spread=spread, disagreement=0.3).to_dict()
    json.dumps(values, allow_nan=False)
    assert list(values)[:2] == ["path", "label"]
    assert (values["confidence"], values["tier"], values["second"]) == (0.74, "moderate", "Lung_Opacity")
    assert values["conformal_set"] == ["Normal", "Lung_Opacity", "COVID", "Viral Pneumonia"]
    assert (values["coverage"], values["spread"], values["disagreement"]) == (0.9, spread, 0.3)
    assert prediction().to_dict()["spread"] is None
