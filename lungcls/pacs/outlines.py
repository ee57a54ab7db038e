"""Outlines of masks as polygons."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours

from lungcls.regions import Mask

MAX_POINTS: Final = 4000
"""A DICOM attribute in explicit VR holds 65,534 bytes, and a point takes eight."""


def outlines(mask: Mask, tolerance: float = 0.5) -> list[NDArray[np.float64]]:
    """Return the outlines of a mask, those of holes included.

    Parameters
    ----------
    mask : bool array [H, W]
    tolerance : float, default=0.5
        How far, in pixels, the polygon may run from the outline; more where it would have too many points.

    Returns
    -------
    list of float array [N, 2]
        Closed polygons of (x, y), in pixels from the upper left corner of the image's first pixel, so that
        this pixel's centre is at (0.5, 0.5).
    """
    height, width = mask.shape
    lines = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    result = []
    for line in lines:
        limit, short = tolerance, approximate_polygon(line, tolerance)
        while len(short) > MAX_POINTS:
            limit *= 2
            short = approximate_polygon(line, limit)
        if len(short) < 4:  # a speck: keep its diamond whole
            short = line
        # The padding moved all by one, and pixel centres are half a pixel from the corner.
        points = short[:, ::-1] - 0.5
        result.append(np.clip(points, 0, (width, height)))
    return result
