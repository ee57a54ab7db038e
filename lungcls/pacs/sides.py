"""Which part of a lung mask is the left lung, and which the right: the patient's, by what the file says.

The mask is divided by :func:`lungcls.quality.pair.pair_of_lungs`; the patient's side of each lung is told by
``PatientOrientation`` (or by ``ImageOrientationPatient``) alone: not by where the heart is, so that the film
of a patient with dextrocardia and one that was flipped in software are not mistaken for each other. Where the
file says nothing, neither does lungcls: the parts are then called by their side of the image. What the
detector did to its image before (``FieldOfViewHorizontalFlip``) does not count: the orientation is of the
image as it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cc3d
import numpy as np
from pydicom.dataset import Dataset
from scipy import ndimage

from lungcls.errors import LungMaskError
from lungcls.quality.mask import MIN_MERGED_WIDTH
from lungcls.quality.pair import BESIDE, pair_of_lungs
from lungcls.regions import Mask, known_box

Side: TypeAlias = Literal["left", "right"]


@dataclass(frozen=True, slots=True, eq=False)
class LungPart:
    """A lung, or both where the mask does not separate them.

    Attributes
    ----------
    mask : bool array [H, W]
        At the image's own size.
    side : {"left", "right"} or None
        The patient's; None where it is not known.
    image_side : {"left", "right"} or None
        Where it lies in the image as stored; None where the two parts lie above each other, or for one part.
    both : bool
        Whether it is both lungs in one piece.
    contact : (int, int) or None
        Rows of the image, end exclusive, in which it touched the other lung before they were separated.
    """

    mask: Mask
    side: Side | None
    image_side: Side | None
    both: bool = False
    contact: tuple[int, int] | None = None

    @property
    def separation(self) -> str:
        """Where it was separated from the other lung, in words; empty where the two lie apart."""
        if self.contact is None:
            return ""
        first, end = self.contact
        return f"the two lungs touch in rows {first} to {end - 1} and are separated where they touch least"

    @property
    def label(self) -> str:
        """What to call it."""
        if self.both:
            return "Both lungs, touching"
        if self.side is not None:
            return f"{self.side.capitalize()} lung"
        if self.image_side is not None:
            return f"Lung at the image's {self.image_side}, side unknown"
        return "Lung, side unknown"


@dataclass(frozen=True, slots=True)
class PatientAxis:
    """Where the patient's left is in an image.

    Attributes
    ----------
    axis : {0, 1}
        0 where it is up or down, 1 where it is along the rows.
    sign : {-1, 1}
        1 where larger row or column numbers are further to the patient's left.
    """

    axis: int
    sign: int


def patient_axis(header: Dataset) -> PatientAxis | None:
    """Read where the patient's left is; None where the header does not say, or contradicts itself."""
    by_letters, by_vectors = _from_letters(header), _from_vectors(header)
    if by_letters and by_vectors and by_letters != by_vectors:
        return None
    return by_letters or by_vectors


def lung_parts(mask: Mask, axis: PatientAxis | None) -> tuple[LungPart, ...]:
    """Divide a mask into lungs; together they are the whole mask, and no pixel is in two.

    Parameters
    ----------
    mask : bool array [H, W]
    axis : PatientAxis or None
        From :func:`patient_axis`.

    Returns
    -------
    tuple of LungPart
        The patient's right lung first, or the part at the image's left where sides are unknown; one part
        where there is one lung, or two that touch over too much of their height to be separated.

    Raises
    ------
    LungMaskError
        If the mask is empty.
    """
    if not mask.any():
        raise LungMaskError(
            "found an empty lung mask, expected at least one lung; a segmentation and outlines cannot be "
            "written for this film, a report and a picture can"
        )
    pair = pair_of_lungs(mask, 1 if axis is None else axis.axis)
    if pair is None:
        x0, y0, x1, y1 = known_box(cc3d.largest_k(np.ascontiguousarray(mask), k=1, connectivity=4) > 0)
        return (LungPart(mask, None, None, both=(x1 - x0) / (y1 - y0) >= MIN_MERGED_WIDTH),)
    offset = np.subtract(ndimage.center_of_mass(pair.second), ndimage.center_of_mass(pair.first))
    upright = abs(offset[1]) >= BESIDE * np.hypot(*offset)
    image_sides: tuple[Side | None, Side | None] = ("left", "right") if upright else (None, None)
    sides: tuple[Side | None, Side | None] = (None, None)
    if axis is not None and abs(offset[axis.axis]) >= BESIDE * np.hypot(*offset):
        second_is_left = (offset[axis.axis] > 0) == (axis.sign > 0)
        sides = ("right", "left") if second_is_left else ("left", "right")
    parts = [
        LungPart(part, side, image_side, contact=pair.contact)
        for part, side, image_side in zip((pair.first, pair.second), sides, image_sides)
    ]
    return tuple(sorted(parts, key=lambda part: part.side == "left"))


def part_notes(parts: Sequence[LungPart]) -> tuple[str, ...]:
    """Say what could not be told apart, and what was separated; empty where there is nothing to say."""
    if len(parts) == 1:
        what = (
            "the two lungs touch over too much of their height to be separated, and are one segment"
            if parts[0].both
            else "only one lung was found"
        )
        return (f"{what}; left and right are not told apart",)
    notes: tuple[str, ...] = (parts[0].separation,) if parts and parts[0].separation else ()
    if parts and parts[0].side is None:
        notes += ("left and right are unknown: the film does not say where the patient's left is",)
    return notes


def _from_letters(header: Dataset) -> PatientAxis | None:
    value = header.get("PatientOrientation")
    if not value or isinstance(value, str) or len(value) != 2:
        return None
    for axis, letters in ((1, str(value[0]).upper()), (0, str(value[1]).upper())):
        if letters[:1] in ("L", "R"):
            return PatientAxis(axis, 1 if letters[0] == "L" else -1)
    return None


def _from_vectors(header: Dataset) -> PatientAxis | None:
    try:
        numbers = [float(number) for number in header.get("ImageOrientationPatient") or ()]
    except (TypeError, ValueError):
        return None
    if len(numbers) != 6:
        return None
    for axis, x in ((1, numbers[0]), (0, numbers[3])):
        if abs(x) > np.sqrt(0.5):
            return PatientAxis(axis, 1 if x > 0 else -1)
    return None
