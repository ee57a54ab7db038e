"""Sets of classes that hold the true one as often as is asked for, from scores that a weight's card stores.

Split-conformal prediction, class by class: an image's score for a class is compared with the scores of
calibration images of that class, which gives a p-value, and the set holds every class whose p-value is above
1 - coverage. What is stored answers for any coverage. :mod:`lungcls.evaluation.conformal` makes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lungcls.errors import OptionError

Floats = NDArray[np.float64]

# One part in a thousand million: coverages such as 0.9 have no exact float.
_TOLERANCE: Final = 1e-9
_RAPS_FREE: Final = 1
_RAPS_PENALTY: Final = 0.1


def _lac(probabilities: Floats) -> Floats:
    return 1 - probabilities


def _aps(probabilities: Floats) -> Floats:
    higher = probabilities[:, None, :] >= probabilities[:, :, None]
    return np.asarray((probabilities[:, None, :] * higher).sum(axis=2))


def _raps(probabilities: Floats) -> Floats:
    rank = (probabilities[:, None, :] >= probabilities[:, :, None]).sum(axis=2)
    return np.asarray(_aps(probabilities) + _RAPS_PENALTY * np.maximum(rank - _RAPS_FREE, 0))


_SCORES: Final[dict[str, Callable[[Floats], Floats]]] = {"lac": _lac, "aps": _aps, "raps": _raps}

SCORES: Final[tuple[str, ...]] = tuple(_SCORES)
"""Nonconformity scores by name: ``lac`` (1 - probability), ``aps`` (probability of all classes that are at
least as probable), ``raps`` (``aps`` with a penalty for ranks beyond the first)."""


def nonconformity(probabilities: ArrayLike, score: str = "lac") -> Floats:
    """Return how badly each class fits each image.

    Parameters
    ----------
    probabilities : array-like, shape [N, K]
    score : str
        One of :data:`SCORES`.

    Returns
    -------
    float64 array [N, K]
        Higher fits worse.

    Raises
    ------
    ValueError
        If the score is not known.

    References
    ----------
    Sadinle, Lei, Wasserman (2019), Least Ambiguous Set-Valued Classifiers with Bounded Error Levels, JASA.
    Romano, Sesia, Candes (2020), Classification with Valid and Adaptive Coverage, NeurIPS.
    Angelopoulos, Bates, Malik, Jordan (2021), Uncertainty Sets for Image Classifiers using Conformal
    Prediction, ICLR.
    """
    if score not in _SCORES:
        raise OptionError(f"unknown conformal score {score!r}; expected one of {', '.join(SCORES)}")
    return _SCORES[score](np.asarray(probabilities, np.float64))


def p_values(probabilities: ArrayLike, stored: Mapping[str, Any], classes: Sequence[str]) -> Floats:
    """Return a p-value for each class of each image.

    Parameters
    ----------
    probabilities : array-like, shape [N, K]
        Calibrated, in the order of `classes`.
    stored : mapping
        A card's ``conformal``.
    classes : sequence of str, length K

    Returns
    -------
    float64 array [N, K] in (0, 1]
        The share of calibration images of the class that fit it no better, each group of images counting
        once. 1 for a class without calibration images: nothing speaks against it.

    References
    ----------
    Vovk, Gammerman, Shafer (2005), Algorithmic Learning in a Random World, section 4.5 (label-conditional).
    Lee, Barber, Willett (2023), Distribution-free inference with hierarchical data, arXiv 2306.06342.
    """
    scores = nonconformity(probabilities, stored["score"])
    result = np.ones_like(scores)
    for column, name in enumerate(classes):
        of_class = stored["classes"][name]
        groups = of_class["groups"]
        below = np.concatenate([[0.0], of_class["below"]])
        better = np.searchsorted(np.asarray(of_class["scores"], np.float64), scores[:, column], side="left")
        result[:, column] = (groups + 1 - below[better]) / (groups + 1)
    return result


def in_set(values: ArrayLike, coverage: float) -> NDArray[np.bool_]:
    """Return which p-values are high enough for a set of the given coverage.

    Parameters
    ----------
    values : array-like
        As :func:`p_values` returns them.
    coverage : float
        Above 0 and below 1.

    Returns
    -------
    bool array

    Raises
    ------
    ValueError
        If the coverage is not between 0 and 1.
    """
    return np.asarray(np.asarray(values) > 1 - checked_coverage(coverage) + _TOLERANCE)


def merged_p_values(members: ArrayLike) -> Floats:
    """Merge the p-values of several models about the same images.

    Parameters
    ----------
    members : array-like, shape [M, ...]

    Returns
    -------
    float64 array [...]
        Twice their mean, at most 1: valid however the models depend on each other, and so on the safe side.
        Those of a single model are returned as they are.

    References
    ----------
    Vovk, Wang (2020), Combining p-values via averaging, Biometrika 107(4), 791-808.
    """
    array = np.asarray(members, np.float64)
    return np.asarray(array[0] if len(array) == 1 else np.minimum(2 * array.mean(axis=0), 1))


def checked_coverage(coverage: float) -> float:
    """Return a coverage after checking that it is above 0 and below 1; ValueError if not."""
    if not 0 < coverage < 1:
        raise OptionError(f"coverage is {coverage}; expected a number between 0 and 1, such as 0.9")
    return coverage


def check_stored(stored: Any, classes: Sequence[str]) -> None:
    """Check what a card stores; an empty object means that there is nothing.

    Raises
    ------
    ValueError
        If it could not be used; the message says why.
    """
    if not isinstance(stored, dict):
        raise ValueError(f"found a {type(stored).__name__}, expected an object")
    if not stored:
        return
    if stored.get("score") not in SCORES:
        raise ValueError(f"score is {stored.get('score')!r}, expected one of {', '.join(SCORES)}")
    by_class = stored.get("classes")
    if not isinstance(by_class, dict) or set(by_class) != set(classes):
        raise ValueError(f"classes must have an entry for each of {', '.join(classes)}")
    for name, of_class in by_class.items():
        if not isinstance(of_class, dict) or not {"groups", "below", "scores"} <= of_class.keys():
            raise ValueError(f"{name} lacks groups, below or scores")
        groups, below, scores = of_class["groups"], of_class["below"], of_class["scores"]
        if (
            not (_rising(below) and _rising(scores))
            or len(below) != len(scores)
            or not isinstance(groups, int)
            or groups < 0
        ):
            raise ValueError(
                f"{name} needs a whole number of groups, and below and scores as rising lists of one length"
            )
        if below and not (below[0] >= 0 and below[-1] <= groups + _TOLERANCE):
            raise ValueError(f"below of {name} goes from {below[0]} to {below[-1]}, expected 0 to {groups}")


def _rising(values: Any) -> bool:
    return (
        isinstance(values, list)
        and all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
        and bool((np.diff(np.asarray(values, np.float64)) >= 0).all())
    )
