"""Left is the patient's left, whatever way the film is stored, and unknown where the file does not say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from lungcls.errors import LungMaskError
from lungcls.pacs.sides import LungPart, lung_parts, part_notes, patient_axis


def header(**tags: Any) -> Dataset:
    data = Dataset()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    return data


def sides(mask: np.ndarray, **tags: Any) -> dict[str | None, float]:
    """Mean column of each side."""
    parts = lung_parts(mask, patient_axis(header(**tags)))
    return {part.side: float(np.nonzero(part.mask)[1].mean()) for part in parts}


def test_the_standard_orientation_has_the_patients_left_at_the_images_right(phantom: Any) -> None:
    found = sides(phantom.mask, PatientOrientation=["L", "F"])
    assert found["right"] < found["left"]


def test_the_orientation_is_that_of_the_image_after_the_detectors_flip(phantom: Any) -> None:
    found = sides(phantom.mask, PatientOrientation=["L", "F"], FieldOfViewHorizontalFlip="YES")
    assert found["right"] < found["left"]


@pytest.mark.parametrize("letters", [["R", "F"], ["R", "H"], ["RA", "F"]])
def test_a_flipped_film_has_it_at_the_images_left(phantom: Any, letters: list[str]) -> None:
    found = sides(phantom.mask, PatientOrientation=letters)
    assert found["left"] < found["right"]


def test_a_film_on_its_side_is_told_apart_along_its_columns(phantom: Any) -> None:
    parts = lung_parts(phantom.mask.T, patient_axis(header(PatientOrientation=["F", "L"])))
    rows = {part.side: np.nonzero(part.mask)[0].mean() for part in parts}
    assert rows["right"] < rows["left"]


@pytest.mark.parametrize(
    ("vectors", "left_is_right_of_image"), [([1, 0, 0, 0, 0, -1], True), ([-1, 0, 0, 0, 0, -1], False)]
)
def test_vectors_say_it_as_well(phantom: Any, vectors: list[int], left_is_right_of_image: bool) -> None:
    found = sides(phantom.mask, ImageOrientationPatient=vectors)
    assert (found["left"] > found["right"]) is left_is_right_of_image


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"PatientOrientation": ["A", "F"]},
        {"PatientOrientation": ""},
        {"PatientOrientation": "L"},
        # That the detector's image was flipped does not say how the patient stood before it.
        {"FieldOfViewHorizontalFlip": "YES"},
        {"ViewPosition": "PA"},
        # The letters and the vectors contradict each other.
        {"PatientOrientation": ["L", "F"], "ImageOrientationPatient": [-1, 0, 0, 0, 0, -1]},
        # Left and right run down the image, in which the lungs lie beside each other.
        {"PatientOrientation": ["F", "L"]},
    ],
)
def test_sides_that_are_not_known_are_not_guessed(phantom: Any, tags: dict[str, Any]) -> None:
    parts = lung_parts(phantom.mask, patient_axis(header(**tags)))
    assert [part.side for part in parts] == [None, None]
    assert [part.label for part in parts] == [
        "Lung at the image's left, side unknown",
        "Lung at the image's right, side unknown",
    ]


def test_a_heart_at_the_other_side_changes_nothing(phantom: Any) -> None:
    # The mirror image, as of dextrocardia: only the file's own word counts.
    assert sides(phantom.mask[:, ::-1], PatientOrientation=["L", "F"]).keys() == {"left", "right"}
    found = sides(phantom.mask[:, ::-1], PatientOrientation=["L", "F"])
    assert found["right"] < found["left"]


def test_small_parts_go_to_the_nearer_lung_and_nothing_is_lost(phantom: Any) -> None:
    mask = phantom.mask.copy()
    mask[:12, 20:24] = True
    mask[-6:, -24:-20] = True
    right, left = lung_parts(mask, patient_axis(header(PatientOrientation=["L", "F"])))
    assert (right.mask | left.mask == mask).all()
    assert not (right.mask & left.mask).any()
    assert right.mask[:12, 20:24].all()
    assert left.mask[-6:, -24:-20].all()


def parts_of(mask: np.ndarray) -> tuple[LungPart, ...]:
    return lung_parts(mask, patient_axis(header(PatientOrientation=["L", "F"])))


@pytest.mark.parametrize("letters", [["L", "F"], ["R", "F"]])
def test_lungs_that_touch_are_separated_keep_their_sides_and_it_is_said(
    phantom: Any, letters: list[str]
) -> None:
    mask = phantom.mask.copy()
    apart = lung_parts(mask, patient_axis(header(PatientOrientation=letters)))
    mask[100:106, 60:140] = True
    touching = lung_parts(mask, patient_axis(header(PatientOrientation=letters)))
    assert [part.label for part in touching] == ["Right lung", "Left lung"]
    for one, other in zip(touching, apart):
        assert (one.mask & phantom.mask == other.mask).all()
    assert (touching[0].mask | touching[1].mask == mask).all()
    assert part_notes(apart) == ()
    (note,) = part_notes(touching)
    assert note == "the two lungs touch in rows 100 to 105 and are separated where they touch least"


def test_lungs_that_touch_too_much_are_one_segment_of_both() -> None:
    mask = np.zeros((100, 120), bool)
    mask[20:80, 10:110] = True
    (both,) = parts_of(mask)
    assert both.both
    assert both.label == "Both lungs, touching"
    assert "touch over too much of their height to be separated" in part_notes((both,))[0]


def test_one_lung_is_of_an_unknown_side() -> None:
    mask = np.zeros((100, 120), bool)
    mask[10:90, 10:40] = True
    (one,) = parts_of(mask)
    assert (one.side, one.both, one.label) == (None, False, "Lung, side unknown")
    assert part_notes((one,)) == ("only one lung was found; left and right are not told apart",)


def test_an_empty_mask_has_no_parts() -> None:
    with pytest.raises(LungMaskError, match="empty lung mask"):
        parts_of(np.zeros((8, 8), bool))
