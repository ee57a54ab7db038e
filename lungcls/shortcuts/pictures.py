"""Small pictures for the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lungcls.regions import Mask, Pixels, letterbox, letterbox_mask

_SIDE = 160
_GAP = 4


def strip(pictures: Sequence[Pixels]) -> NDArray[np.uint8]:
    """Return grey images [H, W] in [0, 1] side by side, each fitted into 160 x 160 pixels, uint8."""
    tiles: list[NDArray[np.uint8]] = []
    for pixels in pictures:
        tiles += [letterbox(pixels, _SIDE)[0], np.full((_SIDE, _GAP), 255, np.uint8)]
    return np.concatenate(tiles[:-1], axis=1)


def heat(pixels: Pixels, warmth: Pixels, outline: Mask) -> NDArray[np.uint8]:
    """Lay a map in [0, 1] over a grey image of the same shape, the outline of a mask in green; uint8 RGB."""
    square, placement = letterbox(pixels, _SIDE)
    hot = letterbox(np.clip(warmth, 0, 1).astype(np.float32), _SIDE)[0].astype(np.float32) / 255
    lungs = letterbox_mask(outline, placement)
    grey = np.repeat(square[..., None].astype(np.float32), 3, axis=2)
    # Dark red to yellow: seen by colour-blind readers, and on paper.
    colour = np.stack([255 * np.minimum(1, 2 * hot), 230 * np.clip(2 * hot - 0.8, 0, 1), 0 * hot], axis=2)
    share = 0.6 * hot[..., None]
    mixed = grey * (1 - share) + colour * share
    inner = lungs.copy()
    inner[1:-1, 1:-1] = lungs[:-2, 1:-1] & lungs[2:, 1:-1] & lungs[1:-1, :-2] & lungs[1:-1, 2:]
    mixed[lungs & ~inner] = (60, 220, 90)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
