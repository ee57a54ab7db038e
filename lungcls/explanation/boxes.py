"""Boxes in which radiologists saw something, and whether a map points at them."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from lungcls.errors import DataError
from lungcls.regions import Mask

FILE = "boxes.csv"
COLUMNS = ("file", "x0", "y0", "x1", "y1")
FloatBox: TypeAlias = tuple[float, float, float, float]


def read_boxes(path: str | Path) -> dict[str, list[FloatBox]]:
    """Read ``boxes.csv``: ``file, x0, y0, x1, y1`` in pixels of the image, a line a box.

    Parameters
    ----------
    path : path-like
        The file, or the folder that it is in.

    Returns
    -------
    dict of str to list of (x0, y0, x1, y1)
        By image file, as the manifest names it.

    Raises
    ------
    DataError
        If the file is missing, lacks a column, or a box is not one.
    """
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected a CSV with the columns {', '.join(COLUMNS)}")
    boxes: dict[str, list[FloatBox]] = {}
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise DataError(f"{file}: the columns are {reader.fieldnames}; expected {', '.join(COLUMNS)}")
        for row in reader:
            try:
                x0, y0, x1, y1 = (float(row[name]) for name in COLUMNS[1:])
            except (TypeError, ValueError):
                x0 = y0 = x1 = y1 = math.nan
            if not (0 <= x0 < x1 < math.inf and 0 <= y0 < y1 < math.inf):
                raise DataError(
                    f"{file}, line {reader.line_num}: {dict(row)} is no box; expected x0 < x1, y0 < y1"
                )
            boxes.setdefault(row["file"], []).append((x0, y0, x1, y1))
    return boxes


def box_mask(boxes: Sequence[FloatBox], shape: tuple[int, int]) -> Mask:
    """Return the pixels whose centre lies in one of the boxes, bool [H, W]."""
    mask = np.zeros(shape, np.bool_)
    for x0, y0, x1, y1 in boxes:
        # Pixel i has its centre at i + 0.5.
        left, top, right, bottom = (max(0, math.ceil(edge - 0.5)) for edge in (x0, y0, x1, y1))
        mask[top:bottom, left:right] = True
    return mask


def pointing_hit(point: tuple[float, float] | None, boxes: Sequence[FloatBox]) -> bool:
    """Return whether a map's highest point lies in one of the boxes; a map without one misses.

    Parameters
    ----------
    point : (x, y) or None
        As :meth:`lungcls.explanation.Frame.peak` gives it.
    boxes : sequence of (x0, y0, x1, y1)

    References
    ----------
    Zhang et al.: Top-down Neural Attention by Excitation Backprop, 2016 (the pointing game; here without the
    tolerance of 15 pixels, which suits boxes around whole objects in photographs).
    """
    return point is not None and any(x0 <= point[0] < x1 and y0 <= point[1] < y1 for x0, y0, x1, y1 in boxes)
