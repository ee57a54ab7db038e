"""The part of a dataset that a command works on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lungcls.errors import OptionError

if TYPE_CHECKING:
    from lungcls.data import Dataset, Record, Split


def chosen_part(
    dataset: Dataset, part: str, split_file: Path | None, seed: int
) -> tuple[list[Record], Split | None]:
    """Return the images of ``--split``, and the split that they were chosen by; no split for ``all``."""
    from lungcls.data import Split, split_dataset

    if part != "all":
        split = Split.read_csv(split_file) if split_file else split_dataset(dataset, seed=seed)
        return split.select(dataset.records, part), split
    if split_file:
        raise OptionError("--split all takes every image; name a part, or leave out --split-file")
    return dataset.records, None
