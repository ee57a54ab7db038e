"""Views on disk: as large as the disk, read as they are needed, and used as arrays in memory are."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from lungcls.regions import View


def new_views(count: int, size: int, folder: str | Path | None = None) -> View:
    """Return room for views, to be filled.

    Parameters
    ----------
    count : int
    size : int
        Side, in pixels.
    folder : path-like, optional
        Map a file there into memory, whose pages the system reads and drops; without it they are in memory.
        The file has no name and is gone when the process ends, however that happens.

    Returns
    -------
    uint8 array [count, size, size]

    Raises
    ------
    OSError
        If the file cannot be made, as where the disk is full.

    Notes
    -----
    Processes that are forked, as those that augment are on Linux, share the pages. Where they are spawned
    (macOS, Windows) the whole array would be sent to each: train with ``workers=0`` there.
    """
    shape = (count, size, size)
    if folder is None or not count:
        return np.empty(shape, np.uint8)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)
