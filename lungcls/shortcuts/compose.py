"""The lungs of one film on the background of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungcls.regions import Box, Mask, Pixels, known_box, resize_mask

_FEATHER = 0.015  # width of the blended edge, as a share of the image's shorter side
_SHAPE = 32


def compose(
    lungs: Pixels, lungs_mask: Mask, background: Pixels, background_mask: Mask
) -> tuple[Pixels, Mask]:
    """Put the lungs of one film in place of those of another.

    Parameters
    ----------
    lungs : float32 array [h, w]
    lungs_mask : bool array [h, w]
    background : float32 array [H, W]
    background_mask : bool array [H, W]

    Returns
    -------
    composite : float32 array [H, W]
        The first film, moved and scaled so that its lungs' box lies on that of the second, shows through
        wherever either film has lungs, so that nothing of the second film's lungs is left; around that the
        films are blended over 1.5% of the shorter side; the rest is the second film's.
    mask : bool array [H, W]
        The first film's lungs in the composite.

    Raises
    ------
    ValueError
        If a mask is empty.
    """
    source, target = known_box(lungs_mask), known_box(background_mask)
    moved = _moved(lungs, source, target, background.shape)
    mask = _moved(lungs_mask.astype(np.float32), source, target, background.shape) > 0.5
    return blended(moved, background, mask | background_mask), np.asarray(mask)


def resampled(lungs: Pixels, lungs_mask: Mask, other_mask: Mask) -> Pixels:
    """Take lungs to the grid of another film's lungs and back, on their own background.

    Parameters
    ----------
    lungs : float32 array [h, w]
    lungs_mask : bool array [h, w]
    other_mask : bool array [H, W]
        Whose box the lungs would be scaled to by :func:`compose`.

    Returns
    -------
    float32 array [h, w]
        The film with its lungs at least as smooth as in the composite, blended in as there.

    Raises
    ------
    ValueError
        If a mask is empty.
    """
    source, target = known_box(lungs_mask), known_box(other_mask)
    there = _moved(lungs, source, target, other_mask.shape)
    return blended(_moved(there, target, source, lungs.shape), lungs, lungs_mask)


def blended(inside: Pixels, outside: Pixels, shown: Mask) -> Pixels:
    """Put one picture into another where a mask says, with an edge of 1.5% of the shorter side."""
    reach = max(1.0, _FEATHER * min(shown.shape))
    share = np.clip(1 - ndimage.distance_transform_edt(~shown) / reach, 0, 1)
    joined: Pixels = np.clip(share * inside + (1 - share) * outside, 0, 1).astype(np.float32)
    return joined


def lung_shape(mask: Mask) -> NDArray[np.float32]:
    """Return the lungs as they fill their box, [1024] of 0 and 1: the shape without place and size."""
    x0, y0, x1, y1 = known_box(mask)
    return resize_mask(mask[y0:y1, x0:x1], (_SHAPE, _SHAPE)).ravel().astype(np.float32)


def overlaps(shapes: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersection over union of each row of `shapes` [N, 1024] with one shape [1024]."""
    shared = shapes @ other
    return np.asarray(shared / np.maximum(shapes.sum(1) + other.sum() - shared, 1))


def _moved(values: Pixels, source: Box, target: Box, shape: tuple[int, ...]) -> Pixels:
    """Map `values` so that the box `source` lands on `target` in an array of `shape`."""
    scale = [
        (source[3] - source[1]) / (target[3] - target[1]),
        (source[2] - source[0]) / (target[2] - target[0]),
    ]
    # Boxes are in pixel edges, array positions in pixel centres: hence the halves.
    offset = [
        source[1] - 0.5 - scale[0] * (target[1] - 0.5),
        source[0] - 0.5 - scale[1] * (target[0] - 0.5),
    ]
    moved = ndimage.affine_transform(
        values, np.diag(scale), offset, output_shape=shape, order=1, mode="nearest"
    )
    return np.asarray(moved, dtype=np.float32)
