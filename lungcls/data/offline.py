"""More images of a class that has few: augmented copies, made once, for training only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lungcls.data.augmentation import Augment
from lungcls.errors import DataError
from lungcls.recipes.recipe import MINORITY
from lungcls.regions import View

# An augmentation leaves some images as they are, or mirrors them again; another image is worth a few draws.
_DRAWS = 8


def wanted_counts(
    labels: npt.NDArray[np.int64], offline: Mapping[str, int], classes: Sequence[str]
) -> dict[int, int]:
    """Return how many images each named class shall have, by its index.

    Parameters
    ----------
    labels : int64 array [N]
        Of the training images.
    offline : mapping of str to int
        As a recipe states it; ``minority`` is the class with the fewest images.
    classes : sequence of str

    Raises
    ------
    DataError
        If a class is not the dataset's, or has no image to make copies of.
    """
    counts = np.bincount(labels, minlength=len(classes))
    wanted = {}
    for name, count in offline.items():
        if name not in (*classes, MINORITY):
            raise DataError(
                f"offline augmentation names the class {name!r}; the dataset has {', '.join(classes)} "
                f"({MINORITY!r} stands for the one with the fewest images)"
            )
        index = int(counts.argmin()) if name == MINORITY else list(classes).index(name)
        if not counts[index]:
            raise DataError(f"offline augmentation of {classes[index]}: no image of it is in training")
        wanted[index] = count
    return wanted


def add_copies(
    views: View,
    labels: npt.NDArray[np.int64],
    wanted: Mapping[int, int],
    augmentation: str,
    seed: int,
) -> tuple[View, npt.NDArray[np.int64]]:
    """Add augmented copies until classes have as many images as wanted.

    The copies are spread over all images of the class: none is used twice more often than another.

    Parameters
    ----------
    views : uint8 array [N, S, S]
    labels : int64 array [N]
    wanted : mapping of int to int
        Images by class index; a class that has as many is left as it is.
    augmentation : str
        A name of :mod:`lungcls.data.augmentation`.
    seed : int

    Returns
    -------
    views : uint8 array [M, S, S]
        Those given, then the copies.
    labels : int64 array [M]
    """
    augment = Augment(augmentation)
    copies: list[Any] = []
    added: list[int] = []
    for index, count in wanted.items():
        own = np.flatnonzero(labels == index)
        rng = np.random.default_rng([seed, index])
        missing = max(0, count - len(own))
        # Whole rounds over all images of the class in a drawn order, the last round cut short.
        sources = np.resize(rng.permutation(own), missing)
        seen = {view.tobytes() for view in views[own]}
        copies += [_copy(views[source], augment, rng, seen) for source in sources]
        added += [index] * missing
    if not copies:
        return views, labels
    return np.concatenate([views, np.stack(copies)]), np.concatenate([labels, np.asarray(added, np.int64)])


def _copy(view: View, augment: Augment, rng: np.random.Generator, seen: set[bytes]) -> View:
    for _ in range(_DRAWS):
        copy, _unused = augment(view, None, int(rng.integers(2**32)))
        if copy.tobytes() not in seen:
            break
    seen.add(copy.tobytes())
    return copy
