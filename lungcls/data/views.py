"""A dataset's films on the road of prediction: their lungs, and the views that networks are shown of them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lungcls.data.dataset import Dataset, Record
from lungcls.data.mapped import new_views
from lungcls.files import atomic_write
from lungcls.finder import Finder
from lungcls.gate.screening import Gate
from lungcls.images import Image, read_image
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.quality import Quality
from lungcls.regions import Mask, Region, View, letterbox_share, resize_mask, whole_view

logger = logging.getLogger(__name__)


def find_lungs(
    dataset: Dataset,
    records: Sequence[Record],
    finder: Finder,
    cache: str | Path | None = None,
    *,
    batch_size: int = 32,
    progress: Progress[int] = quiet,
) -> dict[str, Lungs]:
    """Return the lungs on a dataset's films exactly as prediction finds them, from a cache where it has them.

    Parameters
    ----------
    dataset : Dataset
    records : sequence of Record
    finder : Finder
    cache : path-like, optional
        Folder; one file for each pair of finder (:attr:`lungcls.finder.Finder.identity`) and image files (by
        name, size and time). None keeps nothing.
    batch_size : int, default=32
    progress : callable, optional

    Returns
    -------
    dict of str to Lungs
        By image file, without pixels: these are read again when they are wanted.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    if not records:
        return {}
    path = None if cache is None else Path(cache) / f"lungs-{_identity(dataset, records, finder)}.npz"
    cached = None if path is None else _read_cache(path, dataset)
    if cached is not None:
        return cached
    lungs = _batched(dataset, records, finder.find, "finding the lungs", batch_size, progress)
    if path is not None:
        _write_cache(path, lungs)
    return lungs


def drawn_lungs(
    dataset: Dataset,
    records: Sequence[Record],
    gate: Gate | None = None,
    *,
    batch_size: int = 32,
    progress: Progress[int] = quiet,
) -> dict[str, Lungs]:
    """Return the lungs on a dataset's films by its own masks, judged and corrected as prediction does.

    Parameters
    ----------
    dataset, records, batch_size, progress
        As :func:`find_lungs` takes them. The mask of a record without one is empty.
    gate : Gate, optional

    Returns
    -------
    dict of str to Lungs
        By image file, without pixels.

    Raises
    ------
    ImageError, DataError
        If an image or a mask cannot be read.
    """
    by_path = {os.fspath(dataset.path(record)): record for record in records}

    def find(images: Sequence[Image]) -> list[Lungs]:
        masks: list[Mask | None] = []
        for image in images:
            record = by_path[image.name]
            shape = (image.height, image.width)
            masks.append(resize_mask(dataset.read_mask(record), shape) if record.mask else None)
        return Finder(None, gate).find(images, masks)

    return _batched(dataset, records, find, "reading films and their masks", batch_size, progress)


def segmentation_pairs(
    dataset: Dataset,
    records: Sequence[Record],
    size: int,
    gate: Gate | None = None,
    progress: Progress[int] = quiet,
    *,
    tone: str = "range",
    folder: str | Path | None = None,
) -> tuple[View, View]:
    """Read films and their masks as stage 1 is shown them.

    Parameters
    ----------
    dataset : Dataset
    records : sequence of Record
        Each with a mask.
    size : int
        Side of the views, in pixels.
    gate : Gate, optional
        Inverts back what is inverted, as it does in prediction.
    progress : callable, optional
    tone : str, default="range"
        As the network's card says (:mod:`lungcls.tone`).
    folder : path-like, optional
        Keep the views in files there, read as they are needed, and not in memory
        (:func:`lungcls.data.mapped.new_views`).

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
    views, masks = (new_views(len(records), size, folder) for _ in range(2))

    def fill(index: int) -> int:
        image = read_image(dataset.path(records[index]))
        upright = image.pixels
        if gate:
            upright = gate.screen([upright], [image.pixel_aspect])[0].apply(upright)
        views[index], placement = whole_view(upright, size, image.pixel_aspect, tone)
        masks[index] = letterbox_share(dataset.read_mask(records[index]), placement)
        return index

    _each(fill, len(records), "reading image and mask pairs", progress)
    return views, masks


def region_views(
    lungs: Sequence[Lungs],
    region: Region,
    size: int,
    progress: Progress[int] = quiet,
    *,
    tone: str = "range",
    folder: str | Path | None = None,
) -> View:
    """Cut a region out of each film, as prediction does (:meth:`lungcls.lungs.Lungs.view`).

    Parameters
    ----------
    lungs : sequence of Lungs
    region : Region
    size : int
        Side of the views, in pixels.
    progress : callable, optional
    tone : str, default="range"
        As the network's card says (:mod:`lungcls.tone`).
    folder : path-like, optional
        Keep the views in files there, read as they are needed, and not in memory
        (:func:`lungcls.data.mapped.new_views`).

    Returns
    -------
    uint8 array [N, size, size]

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    views = new_views(len(lungs), size, folder)

    def fill(index: int) -> int:
        views[index] = lungs[index].view(region, size, tone)
        return index

    _each(fill, len(lungs), f"cutting the region {region.name!r}", progress)
    return views


def lung_views(
    lungs: Sequence[Lungs],
    region: Region,
    size: int,
    progress: Progress[int] = quiet,
    *,
    tone: str = "range",
    folder: str | Path | None = None,
) -> tuple[View, View]:
    """Cut a region as :func:`region_views` does, with nothing blackened and the lungs beside it.

    Parameters
    ----------
    lungs, region, size, progress, tone, folder
        As :func:`region_views` takes them.

    Returns
    -------
    views : uint8 array [N, size, size]
    shares : uint8 array [N, size, size]
        As :meth:`lungcls.lungs.Lungs.view_with_lungs` gives them.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    views, shares = (new_views(len(lungs), size, folder) for _ in range(2))

    def fill(index: int) -> int:
        views[index], shares[index] = lungs[index].view_with_lungs(region, size, tone)
        return index

    _each(fill, len(lungs), f"cutting the region {region.name!r}, lungs beside it", progress)
    return views, shares


def _batched(
    dataset: Dataset,
    records: Sequence[Record],
    find: Callable[[Sequence[Image]], list[Lungs]],
    text: str,
    batch_size: int,
    progress: Progress[int],
) -> dict[str, Lungs]:
    lungs: dict[str, Lungs] = {}
    starts = range(0, len(records), batch_size)
    with ThreadPoolExecutor(_readers()) as pool:
        for start in progress(starts, len(starts), text):
            batch = records[start : start + batch_size]
            images = list(pool.map(lambda record: read_image(dataset.path(record)), batch))
            for record, each in zip(batch, find(images)):
                lungs[record.file] = each.without_pixels()
    return lungs


def _write_cache(path: Path, lungs: dict[str, Lungs]) -> None:
    facts = {
        file: {
            "quality": each.quality.to_dict(),
            "pixel_spacing": each.pixel_spacing,
            "pixel_aspect": each.pixel_aspect,
            "segmenter": each.segmenter,
            "shape": each.mask.shape,
        }
        for file, each in lungs.items()
    }
    with atomic_write(path) as target:
        np.savez(
            target,
            facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
            bits=np.concatenate([np.packbits(each.mask) for each in lungs.values()]),
        )


def _read_cache(path: Path, dataset: Dataset) -> dict[str, Lungs] | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            facts: dict[str, Any] = json.loads(stored["facts"].tobytes())
            bits = stored["bits"]
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        logger.warning("%s: the cached masks are not readable (%s); they are made anew", path, error)
        return None
    result = {}
    start = 0
    for name, fact in facts.items():
        height, width = fact["shape"]
        end = start + (height * width + 7) // 8
        mask: npt.NDArray[np.uint8] = np.unpackbits(bits[start:end], count=height * width)
        source = os.fspath(Path(dataset.root, name))
        result[name] = Lungs(
            path=source,
            mask=mask.reshape(height, width).astype(np.bool_),
            quality=Quality.from_dict(fact["quality"]),
            pixel_spacing=tuple(fact["pixel_spacing"]) if fact["pixel_spacing"] else None,
            segmenter=fact["segmenter"],
            pixel_aspect=fact["pixel_aspect"],
            _source=source,
        )
        start = end
    return result


def _identity(dataset: Dataset, records: Sequence[Record], finder: Finder) -> str:
    files = []
    for record in records:
        status = os.stat(dataset.path(record))
        files.append((record.file, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps([finder.identity, files]).encode()).hexdigest()[:24]


def _each(fill: Callable[[int], int], count: int, text: str, progress: Progress[int]) -> None:
    with ThreadPoolExecutor(_readers()) as pool:
        for _ in progress(pool.map(fill, range(count)), count, text):
            pass


def _readers() -> int:
    return min(8, os.cpu_count() or 1)
