"""Going through the images of a dataset with several threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from lungcls.data.dataset import Dataset, Record
from lungcls.data.views import Progress, quiet
from lungcls.images import read_image
from lungcls.regions import Pixels

T = TypeVar("T")


def map_images(
    database: Dataset,
    records: Sequence[Record],
    function: Callable[[Pixels], T],
    text: str,
    progress: Progress[Any] = quiet,
) -> list[T]:
    """Read each image and return what `function` makes of its pixels (float32 [H, W] in [0, 1]).

    Parameters
    ----------
    database : Dataset
    records : sequence of Record
    function : callable
    text : str
        What is being done, for the progress.
    progress : callable, optional

    Returns
    -------
    list
        In the order of the records.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """

    def work(record: Record) -> T:
        return function(read_image(database.path(record)).pixels)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(progress(pool.map(work, records), len(records), text))
