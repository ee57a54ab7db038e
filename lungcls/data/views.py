"""A dataset's images as network views, all in memory as uint8."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lungcls.data.dataset import Dataset, Record
from lungcls.files import atomic_write
from lungcls.images import read_image
from lungcls.quality import mask_quality
from lungcls.regions import Mask, Region, View, letterbox_share, resize_mask, view, view_and_lungs, whole_view
from lungcls.segmenter import Segmenter

logger = logging.getLogger(__name__)

T = TypeVar("T")
Progress = Callable[[Iterable[T], int, str], Iterable[T]]
"""Wraps an iterable of known length and shows how far it is: ``progress(items, total, text)``."""


def quiet(items: Iterable[T], total: int, text: str) -> Iterable[T]:
    """Show nothing: the default progress."""
    return items


def segmentation_pairs(
    database: Dataset, records: Sequence[Record], size: int, progress: Progress[int] = quiet
) -> tuple[View, View]:
    """Read images and their masks as views.

    Parameters
    ----------
    database : Dataset
    records : sequence of Record
        Each with a mask.
    size : int
        Side of the views, in pixels.
    progress : callable, optional

    Returns
    -------
    views : uint8 array [N, size, size]
    masks : uint8 array [N, size, size]
        How much of each pixel is lung: 255 is all of it.

    Raises
    ------
    DataError
        If a record has no mask or the mask cannot be read.
    ImageError
        If an image cannot be read.
    """
    views = np.empty((len(records), size, size), np.uint8)
    masks = np.empty_like(views)

    def fill(index: int) -> int:
        record = records[index]
        views[index], placement = whole_view(read_image(database.path(record)).pixels, size)
        masks[index] = letterbox_share(database.read_mask(record), placement)
        return index

    _each(fill, len(records), "reading image and mask pairs", progress)
    return views, masks


def region_views(
    database: Dataset,
    records: Sequence[Record],
    region: Region,
    size: int,
    masks: dict[str, Mask],
    progress: Progress[int] = quiet,
) -> View:
    """Read images and cut a region out of each, as prediction does.

    Parameters
    ----------
    database : Dataset
    records : sequence of Record
    region : Region
    size : int
        Side of the views, in pixels.
    masks : dict of str to bool array [H, W]
        Lung mask by image file, resized to its image where the sizes differ. Where it is missing or its
        quality is bad (:func:`lungcls.quality.mask_quality`) the whole image is taken, as prediction does.
    progress : callable, optional

    Returns
    -------
    uint8 array [N, size, size]

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    views = np.empty((len(records), size, size), np.uint8)
    whole = Region("full")

    def fill(index: int) -> int:
        pixels = read_image(database.path(records[index])).pixels
        mask = _usable(masks.get(records[index].file), pixels.shape)
        views[index] = view(pixels, mask, whole if mask is None else region, size)
        return index

    _each(fill, len(records), f"cutting the region {region.name!r}", progress)
    return views


def lung_views(
    database: Dataset,
    records: Sequence[Record],
    region: Region,
    size: int,
    masks: dict[str, Mask],
    progress: Progress[int] = quiet,
) -> tuple[View, View]:
    """Read images as :func:`region_views` does, with nothing blackened and the lungs beside them.

    Parameters
    ----------
    database, records, region, size, masks, progress
        As :func:`region_views` takes them.

    Returns
    -------
    views : uint8 array [N, size, size]
    lungs : uint8 array [N, size, size]
        As :func:`lungcls.regions.view_and_lungs` gives them; where the whole image is taken for want of a
        mask, all of it counts as lung.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    views = np.empty((len(records), size, size), np.uint8)
    lungs = np.full_like(views, 255)
    whole = Region("full")

    def fill(index: int) -> int:
        pixels = read_image(database.path(records[index])).pixels
        mask = _usable(masks.get(records[index].file), pixels.shape)
        if mask is None:
            views[index] = view(pixels, None, whole, size)
        else:
            views[index], lungs[index] = view_and_lungs(pixels, mask, region, size)
        return index

    _each(fill, len(records), f"cutting the region {region.name!r}, lungs beside it", progress)
    return views, lungs


def predicted_masks(
    database: Dataset,
    records: Sequence[Record],
    segmenter: Segmenter,
    cache: str | Path,
    *,
    batch_size: int = 32,
    progress: Progress[int] = quiet,
) -> dict[str, Mask]:
    """Return the lung masks that a segmenter predicts, from a cache where they are known.

    Parameters
    ----------
    database : Dataset
    records : sequence of Record
    segmenter : Segmenter
    cache : path-like
        Folder; one file for each pair of weights (by SHA-256) and image files (by name, size and time).
    batch_size : int, default=32
    progress : callable, optional

    Returns
    -------
    dict of str to bool array [H, W]
        By image file, each at the image's own size.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    if not records:
        return {}
    path = Path(cache) / f"masks-{_identity(database, records, segmenter)}.npz"
    known = _read_masks(path)
    if known is not None:
        return known
    result: dict[str, Mask] = {}
    starts = range(0, len(records), batch_size)
    with ThreadPoolExecutor(_readers()) as pool:
        for start in progress(starts, len(starts), "predicting lung masks"):
            batch = records[start : start + batch_size]
            images = list(pool.map(lambda record: read_image(database.path(record)).pixels, batch))
            masks = segmenter.segment(images)
            result.update((record.file, mask) for record, mask in zip(batch, masks))
    with atomic_write(path) as file:
        np.savez(
            file,
            files=np.asarray(list(result)),
            shapes=np.asarray([mask.shape for mask in result.values()], np.int32),
            bits=np.concatenate([np.packbits(mask) for mask in result.values()]),
        )
    return result


def _usable(mask: Mask | None, shape: tuple[int, ...]) -> Mask | None:
    """The mask at its image's size, or None where prediction would take the whole image."""
    if mask is None or not mask_quality(mask).both_lungs:
        return None
    height, width = shape
    return resize_mask(mask, (height, width))


def _read_masks(path: Path) -> dict[str, Mask] | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            files, shapes, bits = stored["files"], stored["shapes"], stored["bits"]
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        logger.warning("%s: the cached masks are not readable (%s); they are made anew", path, error)
        return None
    result = {}
    start = 0
    for name, (height, width) in zip(files.tolist(), shapes.tolist()):
        count = height * width
        end = start + (count + 7) // 8
        mask: npt.NDArray[np.uint8] = np.unpackbits(bits[start:end], count=count)
        result[name] = mask.reshape(height, width).astype(np.bool_)
        start = end
    return result


def _identity(database: Dataset, records: Sequence[Record], segmenter: Segmenter) -> str:
    files = []
    for record in records:
        status = os.stat(database.path(record))
        files.append((record.file, status.st_size, status.st_mtime_ns))
    threshold = segmenter.card.thresholds["mask"]
    switches = [segmenter.card.sha256, threshold, segmenter.fill_holes, segmenter.keep_parts]
    return hashlib.sha256(json.dumps([switches, files]).encode()).hexdigest()[:24]


def _each(fill: Callable[[int], int], count: int, text: str, progress: Progress[int]) -> None:
    with ThreadPoolExecutor(_readers()) as pool:
        for _ in progress(pool.map(fill, range(count)), count, text):
            pass


def _readers() -> int:
    return min(8, os.cpu_count() or 1)
