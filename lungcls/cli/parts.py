"""What the commands that measure have in common: names checked first, and the part of a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lungcls.errors import OptionError
from lungcls.weights import card_for

if TYPE_CHECKING:
    from lungcls.data import Dataset, Record, Split


def check_weights(names: Iterable[str], task: str) -> None:
    """Refuse names that stand for no weights of a task: WeightsError, OptionError, in milliseconds."""
    for name in names:
        card_for(name, task)


def chosen_part(
    dataset: Dataset, part: str, split_file: Path | None, seed: int
) -> tuple[list[Record], Split | None]:
    """Return the images of ``--part``, and the split that they were chosen by; no split for ``all``."""
    from lungcls.data import Split, split_dataset
    from lungcls.data.splits import PARTS
    from lungcls.progress import bar

    if part not in (*PARTS, "all"):
        raise OptionError(f"--part is {part!r}; expected one of {', '.join(PARTS)}, all")
    if part != "all":
        split = Split.read_csv(split_file) if split_file else split_dataset(dataset, seed=seed, progress=bar)
        return split.select(dataset.records, part), split
    if split_file:
        raise OptionError("--part all takes every image; name a part, or leave out --split")
    return dataset.records, None
