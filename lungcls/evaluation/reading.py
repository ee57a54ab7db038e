"""Going through films with several threads, and telling which of them are copies of others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lungcls.data.dataset import Dataset, Record
from lungcls.data.duplicates import copied_from
from lungcls.data.thumbnails import thumbnail
from lungcls.images import read_image
from lungcls.progress import Progress, quiet

S = TypeVar("S")
T = TypeVar("T")


def in_threads(
    function: Callable[[S], T], items: Sequence[S], text: str, progress: Progress[Any] = quiet
) -> list[T]:
    """Return what a function makes of each item, in their order; `text` says what is being done."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(progress(pool.map(function, items), len(items), text))


def copies_of(
    dataset: Dataset,
    records: Sequence[Record],
    other: Dataset,
    known: Sequence[Record],
    *,
    by_class: bool = False,
    progress: Progress[Any] = quiet,
) -> NDArray[np.bool_]:
    """Tell which films are near duplicates of others (:func:`lungcls.data.duplicates.copied_from`).

    Parameters
    ----------
    dataset : Dataset
    records : sequence of Record
        Of `dataset`.
    other : Dataset
    known : sequence of Record
        Of `other`.
    by_class : bool, default=False
        Compare films of one class alone. Collections name the finding of the same film differently, so that
        a copy counts under any label by default.
    progress : callable, optional

    Returns
    -------
    bool array [N]

    Raises
    ------
    ImageError
        If an image cannot be read.
    """

    def read(owner: Dataset, films: Sequence[Record]) -> NDArray[np.float32]:
        def small(record: Record) -> NDArray[np.float32]:
            return thumbnail(read_image(owner.path(record)).pixels)

        return np.stack(in_threads(small, films, "looking for copies", progress))

    labels = [record.label for record in (*records, *known)] if by_class else None
    return copied_from(read(dataset, records), read(other, known), labels)
