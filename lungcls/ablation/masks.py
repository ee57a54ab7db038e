"""The lung masks that an ablation cuts with: a segmenter's, the dataset's own, or another image's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import PARTS, Split
from lungcls.data.views import drawn_lungs, find_lungs
from lungcls.finder import Finder
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.regions import resize_mask

MaskSource: TypeAlias = Literal["predicted", "truth"]


def usable_lungs(
    database: Dataset,
    source: MaskSource,
    finder: Finder,
    cache: str | Path,
    progress: Progress[Any] = quiet,
) -> dict[str, Lungs]:
    """Return the films whose lung mask shows both lungs.

    Parameters
    ----------
    database : Dataset
    source : {"predicted", "truth"}
    finder : Finder
        With a segmenter for ``predicted``; its gate judges and corrects the films of either.
    cache : path-like
        Where predicted masks are kept.
    progress : callable, optional

    Returns
    -------
    dict of str to Lungs
        By image file. Films without a mask, or with one that misses a lung, are left out: prediction would
        show their whole image instead, and an arm must show what its name says.

    Raises
    ------
    ImageError, DataError
        If an image or a mask cannot be read.
    """
    if source == "truth":
        drawn = [record for record in database.records if record.mask]
        lungs = drawn_lungs(database, drawn, finder.gate, progress=progress)
    else:
        lungs = find_lungs(database, database.records, finder, cache, progress=progress)
    return {file: one for file, one in lungs.items() if one.quality.both_lungs}


def shuffled_lungs(
    lungs: Mapping[str, Lungs], records: Sequence[Record], split: Split, seed: int
) -> dict[str, Lungs]:
    """Give each film the mask of another group's film of the same part.

    Parameters
    ----------
    lungs : mapping of str to Lungs
    records : sequence of Record
        Those of `split`; each has its lungs.
    split : Split
        Masks do not cross its parts, so that the test part stays unseen.
    seed : int

    Returns
    -------
    dict of str to Lungs
    """
    rng = np.random.default_rng(seed)
    result: dict[str, Lungs] = {}
    for part in PARTS:
        files = sorted(record.file for record in records if split.parts.get(record.file) == part)
        for file in files:
            others = rng.permutation(len(files))
            # A part of one group has no other mask to give; its own stays then.
            giver = next((files[i] for i in others if split.groups[files[i]] != split.groups[file]), file)
            height, width = lungs[file].mask.shape
            result[file] = replace(lungs[file], mask=resize_mask(lungs[giver].mask, (height, width)))
    return result
