"""The lungs that an ablation shows: by a segmenter's masks, the dataset's, another image's; harmonised."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lungcls.data.dataset import Dataset, Record
from lungcls.data.harmonisation import SHARPNESS_QUANTILE, blurred_to, grey_levels, sharpness, toned
from lungcls.data.splits import PARTS, Split
from lungcls.data.views import drawn_lungs, find_lungs
from lungcls.evaluation.reading import in_threads
from lungcls.files import write_json
from lungcls.finder import Finder
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.regions import Pixels, resize_mask

Floats: TypeAlias = NDArray[np.float64]
MaskSource: TypeAlias = Literal["predicted", "truth"]


@dataclass(frozen=True, eq=False, repr=False)
class HarmonisedLungs(Lungs):
    """Lungs whose pixels are given one sharpness and one histogram.

    Attributes
    ----------
    sharpness : float
        To which they are blurred (:func:`lungcls.data.harmonisation.blurred_to`).
    levels : float64 array [101]
        Their grey levels then (:func:`lungcls.data.harmonisation.toned`).
    """

    sharpness: float = 0.0
    levels: Floats | None = None

    def pixels(self) -> Pixels:
        """As of the lungs, float32 [H, W] in [0, 1]; what lies around them is left as it is."""
        assert self.levels is not None
        blunt = blurred_to(super().pixels(), self.mask, self.sharpness)
        return toned(blunt, self.mask, self.levels)


def harmonised_lungs(
    lungs: Mapping[str, Lungs], reference: Sequence[Record], path: Path, progress: Progress[Any] = quiet
) -> dict[str, Lungs]:
    """Give the lungs of all films the sharpness of the bluntest in twenty and the mean histogram of some.

    Parameters
    ----------
    lungs : mapping of str to Lungs
        By image file.
    reference : sequence of Record
        Films that sharpness and histogram are measured on: those of the training part.
    path : Path
        JSON file that keeps both, so that a run that goes on has the same.
    progress : callable, optional

    Returns
    -------
    dict of str to Lungs

    Raises
    ------
    ImageError
        If an image cannot be read.
    """

    def measure(record: Record) -> tuple[float, Floats]:
        one = lungs[record.file]
        pixels = one.pixels()
        return sharpness(pixels, one.mask), grey_levels(pixels, one.mask)

    if not path.is_file():
        measured = in_threads(measure, reference, "measuring sharpness and grey levels", progress)
        target = float(np.quantile([sharp for sharp, _ in measured], SHARPNESS_QUANTILE))
        levels = np.mean([of for _, of in measured], axis=0)
        write_json(path, {"sharpness": target, "levels": levels.tolist()})
    stated = json.loads(path.read_text(encoding="utf-8"))
    target, levels = float(stated["sharpness"]), np.asarray(stated["levels"], np.float64)
    return {
        file: HarmonisedLungs(
            **{of.name: getattr(one, of.name) for of in fields(one)}, sharpness=target, levels=levels
        )
        for file, one in lungs.items()
    }


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
