"""What can be measured on the lungs of a film: area, ratio, grey, place, and all of it by zones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from skimage.measure import regionprops_table

from lungcls.pacs.sides import LungPart
from lungcls.pacs.source import Spacing
from lungcls.regions import Pixels

ZONES: Final = ("upper", "middle", "lower")

COLUMNS: Final = (
    "path",
    "lung",
    "zone",
    "area_px",
    "area_mm2",
    "mm2_from",
    "share_of_lungs",
    "ratio_to_other",
    "mean_grey",
    "min_grey",
    "max_grey",
    "centroid_x",
    "centroid_y",
    "x0",
    "y0",
    "x1",
    "y1",
)
"""Columns of the table of measurements."""

_PROPERTIES: Final = ("label", "area", "mean_intensity", "min_intensity", "max_intensity", "centroid", "bbox")


def head_is_up(header: Dataset | None) -> bool | None:
    """Tell whether the patient's head is at the top of the image.

    Returns
    -------
    bool or None
        True where the file says so or says nothing, since lungcls takes upright films; False where it
        says that the head is at the bottom; None where it says that the patient lies across.
    """
    value = header.get("PatientOrientation") if header is not None else None
    if not value or isinstance(value, str) or len(value) != 2:
        return True
    letter = str(value[1])[:1].upper()
    return {"F": True, "H": False}.get(letter)


def lung_name(part: LungPart) -> str:
    """Return a part's name in tables: ``right_lung``, ``image_left_lung``, ``both_lungs`` and so on."""
    if part.both:
        return "both_lungs"
    if part.side is not None:
        return f"{part.side}_lung"
    return f"image_{part.image_side}_lung" if part.image_side is not None else "lung"


def measure(
    parts: Sequence[LungPart],
    pixels: Pixels,
    spacing: Spacing | None = None,
    head_up: bool | None = True,
) -> list[dict[str, Any]]:
    """Measure each lung, and its upper, middle and lower third by height.

    Parameters
    ----------
    parts : sequence of LungPart
    pixels : float32 array [H, W] in [0, 1]
        What grey values are measured on; 0 is black and 1 is white of the range that the file names.
    spacing : Spacing, optional
        Gives areas in mm2.
    head_up : bool or None, default=True
        From :func:`head_is_up`; None leaves out the zones.

    Returns
    -------
    list of dict
        One row a lung and zone, with the names of :data:`COLUMNS` but ``path``; what is not known is None.
        The ratio is this lung's area to the other's. Boxes are in pixels, end exclusive.
    """
    zones = ("whole",) if head_up is None else ("whole", *ZONES)
    total = sum(int(np.count_nonzero(part.mask)) for part in parts)
    rows = []
    for zone in zones:
        labels = np.zeros(pixels.shape, np.int32)
        for number, part in enumerate(parts, 1):
            labels[_zone(part.mask, zone, bool(head_up))] = number
        if not labels.any():
            continue
        table: dict[str, NDArray[Any]] = regionprops_table(labels, pixels, properties=_PROPERTIES)
        areas = dict(zip(table["label"].tolist(), table["area"].tolist()))
        for place, number in enumerate(table["label"].tolist()):
            other = areas.get(3 - number) if len(parts) == 2 else None
            area = int(table["area"][place])
            rows.append(
                {
                    "lung": lung_name(parts[number - 1]),
                    "zone": zone,
                    "area_px": area,
                    "area_mm2": round(area * spacing.pixel_area, 2) if spacing else None,
                    "mm2_from": f"{spacing.tag}, {spacing.meaning}" if spacing else None,
                    "share_of_lungs": area / total,
                    "ratio_to_other": area / other if other else None,
                    "mean_grey": float(table["mean_intensity"][place]),
                    "min_grey": float(table["min_intensity"][place]),
                    "max_grey": float(table["max_intensity"][place]),
                    "centroid_x": float(table["centroid-1"][place]),
                    "centroid_y": float(table["centroid-0"][place]),
                    "x0": int(table["bbox-1"][place]),
                    "y0": int(table["bbox-0"][place]),
                    "x1": int(table["bbox-3"][place]),
                    "y1": int(table["bbox-2"][place]),
                }
            )
    return sorted(rows, key=lambda row: [lung_name(part) for part in parts].index(row["lung"]))


def _zone(mask: NDArray[np.bool_], zone: str, head_up: bool) -> NDArray[np.bool_]:
    if zone == "whole":
        return mask
    lines = np.flatnonzero(mask.any(axis=1))
    edges = np.linspace(lines[0], lines[-1] + 1, 4).round().astype(int)
    third = ZONES.index(zone) if head_up else 2 - ZONES.index(zone)
    part = np.zeros_like(mask)
    part[edges[third] : edges[third + 1]] = mask[edges[third] : edges[third + 1]]
    return part
