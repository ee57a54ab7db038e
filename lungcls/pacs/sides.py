"""Which part of a lung mask is the left lung, and which the right: the patient's, by what the file says.

The two lungs are the mask's two largest connected parts, and the patient's side of each is told by
``PatientOrientation`` (or by ``ImageOrientationPatient``) alone: not by where the heart is, so that the film
of a patient with dextrocardia and one that was flipped in software are not mistaken for each other. Where the
file says nothing, neither does lungcls: the parts are then called by their side of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import cc3d
import numpy as np
from pydicom.dataset import Dataset
from scipy import ndimage

from lungcls.errors import LungMaskError
from lungcls.quality.mask import MIN_BALANCE, MIN_MERGED_WIDTH
from lungcls.regions import Mask, lung_box

Side: TypeAlias = Literal["left", "right"]

_UPRIGHT: Final = 0.5
"""Least share of the line between two parts' centres that runs along the patient's left-right axis."""


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
    """

    mask: Mask
    side: Side | None
    image_side: Side | None
    both: bool = False

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
        where there is one lung, or two that touch.

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
    labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=4)
    areas = np.bincount(labels.ravel())[1:]
    largest = np.argsort(-areas, kind="stable")[:2] + 1
    if largest.size == 1 or areas[largest[1] - 1] < MIN_BALANCE * areas[largest[0] - 1]:
        x0, y0, x1, y1 = lung_box(labels == largest[0]) or (0, 0, 1, 1)
        return (LungPart(mask, None, None, both=(x1 - x0) / (y1 - y0) >= MIN_MERGED_WIDTH),)
    first, second = _joined(labels, areas, int(largest[0]), int(largest[1]))
    offset = np.subtract(ndimage.center_of_mass(second), ndimage.center_of_mass(first))
    across = abs(offset[1]) >= _UPRIGHT * np.hypot(*offset)
    if offset[1] < 0:
        first, second = second, first
        offset = -offset
    image_sides: tuple[Side | None, Side | None] = ("left", "right") if across else (None, None)
    parts = (LungPart(first, None, image_sides[0]), LungPart(second, None, image_sides[1]))
    if axis is None or abs(offset[axis.axis]) < _UPRIGHT * np.hypot(*offset):
        return parts
    second_is_left = (offset[axis.axis] > 0) == (axis.sign > 0)
    sides: tuple[Side, Side] = ("right", "left") if second_is_left else ("left", "right")
    named = [LungPart(part.mask, side, part.image_side) for part, side in zip(parts, sides)]
    return tuple(sorted(named, key=lambda part: part.side != "right"))


def _joined(labels: np.ndarray, areas: np.ndarray, first: int, second: int) -> tuple[Mask, Mask]:
    """Give each smaller part to the nearer of the two largest, so that nothing of the mask is lost."""
    one, two = labels == first, labels == second
    if areas.size > 2:
        nearer_two = ndimage.distance_transform_edt(~two) < ndimage.distance_transform_edt(~one)
        rest = (labels > 0) & ~one & ~two
        for label in np.unique(labels[rest]):
            piece = labels == label
            target = two if nearer_two[piece].mean() > 0.5 else one
            target |= piece
    return one, two


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
