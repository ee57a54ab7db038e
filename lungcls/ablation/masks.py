"""The lung masks that an ablation cuts with: a segmenter's, the dataset's own, or another image's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import PARTS, Split
from lungcls.data.views import Progress, predicted_masks, quiet
from lungcls.errors import OptionError
from lungcls.quality import mask_quality
from lungcls.regions import Mask
from lungcls.segmenter import Segmenter

MaskSource: TypeAlias = Literal["predicted", "truth"]


def usable_masks(
    database: Dataset,
    source: MaskSource,
    segmenter: Segmenter | None,
    cache: str | Path,
    progress: Progress[Any] = quiet,
) -> dict[str, Mask]:
    """Return the lung masks that show both lungs.

    Parameters
    ----------
    database : Dataset
    source : {"predicted", "truth"}
    segmenter : Segmenter or None
        Needed for ``predicted``.
    cache : path-like
        Where predicted masks are kept.
    progress : callable, optional

    Returns
    -------
    dict of str to bool array [h, w]
        By image file. Images without a mask, or with one that misses a lung
        (:func:`lungcls.quality.mask_quality`), are left out: prediction would show their whole image instead,
        and an arm must show what its name says.

    Raises
    ------
    ImageError, DataError
        If an image or a mask cannot be read.
    ValueError
        If predicted masks are asked for without a segmenter.
    """
    if source == "truth":
        having = [record for record in database.records if record.mask]
        found = {
            record.file: database.read_mask(record)
            for record in progress(having, len(having), "reading lung masks")
        }
    else:
        if segmenter is None:
            raise OptionError("predicted masks need a segmenter")
        found = predicted_masks(database, database.records, segmenter, cache, progress=progress)
    return {file: mask for file, mask in found.items() if mask_quality(mask).both_lungs}


def shuffled_masks(
    masks: Mapping[str, Mask], records: Sequence[Record], split: Split, seed: int
) -> dict[str, Mask]:
    """Give each image the mask of another group's image of the same part.

    Parameters
    ----------
    masks : mapping of str to bool array [h, w]
    records : sequence of Record
        Those of `split`; each has a mask.
    split : Split
        Masks do not cross its parts, so that the test part stays unseen.
    seed : int

    Returns
    -------
    dict of str to bool array [h, w]
    """
    rng = np.random.default_rng(seed)
    result: dict[str, Mask] = {}
    for part in PARTS:
        files = sorted(record.file for record in records if split.parts.get(record.file) == part)
        for file in files:
            others = rng.permutation(len(files))
            # A part of one group has no other mask to give; its own stays then.
            giver = next((files[i] for i in others if split.groups[files[i]] != split.groups[file]), file)
            result[file] = masks[giver]
    return result
