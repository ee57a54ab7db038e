"""Images shrunk to 64 x 64 pixels, by which copies are found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from lungcls.images import read_image
from lungcls.progress import Progress, quiet

Floats = NDArray[np.float32]
Integers = NDArray[np.intp]

SIZE = 64
"""Side of the thumbnails, in pixels."""


def thumbnail(pixels: NDArray[np.floating]) -> Floats:
    """Shrink one image of shape [H, W] to the 64 x 64 pixels that are compared.

    The picture is stretched to a square, so that a copy that was squashed or resized still fits its original.
    """
    # Pillow's bilinear filter widens with the reduction, so it does not alias.
    picture = PillowImage.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    small = picture.resize((SIZE, SIZE), PillowImage.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.float32)


def thumbnails(paths: Sequence[str | os.PathLike[str]], *, progress: Progress[None] = quiet) -> Floats:
    """Read images and shrink each for comparison.

    Parameters
    ----------
    paths : sequence of path-like
        Image files of any kind that `lungcls.images.read_image` reads.
    progress : callable, optional
        As :data:`lungcls.progress.Progress`.

    Returns
    -------
    float32 array of shape [N, 64, 64]
        Grey values in [0, 1].

    Raises
    ------
    lungcls.errors.ImageError
        If a file cannot be read; the message names it.
    """
    small = np.empty((len(paths), SIZE, SIZE), np.float32)

    def fill(position: int) -> None:
        small[position] = thumbnail(read_image(paths[position]).pixels)

    with ThreadPoolExecutor(readers()) as pool:
        for _ in progress(pool.map(fill, range(len(paths))), len(paths), "reading images to compare them"):
            pass
    return small


def readers() -> int:
    """Return how many threads read images at once: decoding leaves Python's lock to the others."""
    return min(8, os.cpu_count() or 1)
