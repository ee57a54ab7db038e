"""One pass over image files: what each is, its grey values, and a thumbnail to compare it by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from lungcls.data.thumbnails import SIZE, readers, thumbnail
from lungcls.errors import ConstantImageError, ImageError
from lungcls.files import file_sha256
from lungcls.images import read_image
from lungcls.progress import Progress, quiet

BINS: Final = 256
"""Bins of a grey-level histogram: the levels of 8 bits."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one file holds; numbers are 0 and text is empty where it cannot be read.

    Attributes
    ----------
    bytes : int
        Size of the file.
    file_hash, pixel_hash : str
        SHA-256 of the bytes, and of shape and grey values.
    height, width : int
        In pixels.
    mode : str
        File format and colour mode, such as ``PNG L``.
    mean, std, min, max : float
        Of the grey values, in [0, 1].
    error : str
        Why the file cannot be used; empty where it can.
    constant : bool
        Whether the reason is that the image holds one value throughout.
    """

    bytes: int = 0
    file_hash: str = ""
    pixel_hash: str = ""
    height: int = 0
    width: int = 0
    mode: str = ""
    mean: float = 0.0
    std: float = 0.0
    min: float = 0.0
    max: float = 0.0
    error: str = ""
    constant: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What one pass over N files gathers; whole images are not kept.

    Attributes
    ----------
    facts : list of Facts
    small : float32 array [N, 64, 64]
        Thumbnails; zeros, which are like nothing, where a file cannot be read.
    histograms : float32 array [N, 256]
        Share of the pixels at each grey level; sums to 1, or to 0 where a file cannot be read.
    """

    facts: list[Facts]
    small: NDArray[np.float32]
    histograms: NDArray[np.float32]


def scan_images(paths: Sequence[str | os.PathLike[str]], *, progress: Progress[Facts] = quiet) -> Scan:
    """Read files once and gather what audits and pictures of a dataset need.

    Parameters
    ----------
    paths : sequence of path-like
        Files that cannot be read are noted, not fatal.
    progress : callable, optional
        As :data:`lungcls.progress.Progress`.

    Returns
    -------
    Scan
    """
    small = np.zeros((len(paths), SIZE, SIZE), np.float32)
    histograms = np.zeros((len(paths), BINS), np.float32)

    def look(position: int) -> Facts:
        path = Path(paths[position])
        try:
            size, digest = path.stat().st_size, file_sha256(path)
        except OSError:  # reading the image below fails too, with the reason
            size, digest = 0, ""
        try:
            pixels = read_image(path).pixels
        except ImageError as error:
            constant = isinstance(error, ConstantImageError)
            return Facts(bytes=size, file_hash=digest, error=str(error), constant=constant)
        small[position] = thumbnail(pixels)
        levels = np.rint(pixels * (BINS - 1)).astype(np.uint8).ravel()
        histograms[position] = np.bincount(levels, minlength=BINS) / levels.size
        whole = hashlib.sha256(f"{pixels.shape}".encode())
        whole.update(np.ascontiguousarray(pixels).data)
        return Facts(
            bytes=size,
            file_hash=digest,
            pixel_hash=whole.hexdigest(),
            height=pixels.shape[0],
            width=pixels.shape[1],
            mode=_mode_of(path),
            mean=float(pixels.mean(dtype=np.float64)),
            std=float(pixels.std(dtype=np.float64)),
            min=float(pixels.min()),
            max=float(pixels.max()),
        )

    with ThreadPoolExecutor(readers()) as pool:
        facts = list(progress(pool.map(look, range(len(paths))), len(paths), "reading images"))
    return Scan(facts, small, histograms)


def _mode_of(path: Path) -> str:
    try:
        with PillowImage.open(path) as picture:  # reads the header alone
            return f"{picture.format} {picture.mode}"
    except UnidentifiedImageError:
        return "DICOM"
