"""How many films a test needs for intervals of a stated width, and how wide they are with those it has."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm

from lungcls.study.answers import Answers

Floats = npt.NDArray[np.float64]

WIDTHS: Final = {"observed / expected": 0.2, "calibration slope": 0.4, "c-statistic": 0.1}
"""Widths of the 95% intervals that are aimed at: the library's choice, which the method leaves open."""

_Z: Final = float(norm.ppf(0.975))
_MOST: Final = 1e6
"""Films beyond which no number is given."""


@dataclass(frozen=True)
class Requirement:
    """How many films one figure of one class needs.

    Attributes
    ----------
    name : str
        Of the class.
    figure : str
        A key of :data:`WIDTHS`.
    width : float
        Of the 95% interval that is aimed at.
    needed : int or None
        Films, of all classes together; None for more than a million.
    width_now : float or None
        Of the interval with the films that there are.
    """

    name: str
    figure: str
    width: float
    needed: int | None
    width_now: float | None


def standard_error_of_ratio(n: float, prevalence: float) -> float:
    """Return the standard error of ln(observed / expected) with `n` films (Riley et al. 2021)."""
    return math.sqrt((1 - prevalence) / (n * prevalence))


def standard_error_of_c(n: float, prevalence: float, c: float) -> float:
    """Return the standard error of a c-statistic with `n` films (Newcombe 2006, as Riley et al. 2021)."""
    half = n / 2 - 1
    spread = c * (1 - c) * (1 + half * (1 - c) / (2 - c) + half * c / (1 + c))
    return math.sqrt(spread / (n * n * prevalence * (1 - prevalence)))


def standard_error_of_slope(n: float, linear_predictor: Floats) -> float:
    """Return the standard error of a calibration slope of 1 with `n` films (Riley et al. 2021).

    Parameters
    ----------
    n : float
    linear_predictor : float64 array [N]
        Log odds that the classifier gives, as the films have them.
    """
    probability = expit(linear_predictor)
    weight = probability * (1 - probability)
    a, b = weight.mean(), (weight * linear_predictor).mean()
    c = (weight * linear_predictor**2).mean()
    determinant = a * c - b * b
    return math.sqrt(a / (n * determinant)) if determinant > 0 else math.nan


def requirements(answers: Answers, areas: dict[str, float]) -> list[Requirement]:
    """Return how many films each class against the rest needs for intervals of the widths of :data:`WIDTHS`.

    Parameters
    ----------
    answers : Answers
        Of the test films; the share of the class and the classifier's log odds are taken from them.
    areas : dict of str to float
        Area under the ROC curve by class, in (0, 1).

    Returns
    -------
    list of Requirement

    References
    ----------
    Riley et al. (2021), Minimum sample size for external validation of a clinical prediction model with a
    binary outcome, Statistics in Medicine 40(19), 4230-4251.
    """
    rows = []
    for index, name in enumerate(answers.classes):
        prevalence = float(np.mean(answers.labels == index))
        if prevalence in (0.0, 1.0):
            continue
        log_odds = logit(np.clip(answers.probabilities[:, index], 1e-6, 1 - 1e-6))
        area = areas.get(name, math.nan)
        widths: dict[str, Callable[[float], float]] = {
            "observed / expected": partial(_ratio_width, prevalence=prevalence),
            "calibration slope": partial(_width, standard_error_of_slope, linear_predictor=log_odds),
        }
        if 0 < area < 1:
            widths["c-statistic"] = partial(_width, standard_error_of_c, prevalence=prevalence, c=area)
        for figure, width_of in widths.items():
            now = width_of(len(answers))
            needed = _films(width_of, WIDTHS[figure])
            rows.append(
                Requirement(name, figure, WIDTHS[figure], needed, now if math.isfinite(now) else None)
            )
    return rows


def _ratio_width(n: float, prevalence: float) -> float:
    """Width of the interval of observed / expected around 1."""
    error = standard_error_of_ratio(n, prevalence)
    return math.exp(_Z * error) - math.exp(-_Z * error)


def _width(standard_error: Callable[..., float], n: float, **known: Any) -> float:
    """Width of the interval of a figure whose sampling distribution is taken for normal."""
    return 2 * _Z * standard_error(n, **known)


def _films(width_of: Callable[[float], float], wanted: float) -> int | None:
    """The fewest films with which an interval is no wider than wanted."""
    if not math.isfinite(width_of(_MOST)) or width_of(_MOST) > wanted:
        return None
    if width_of(4) <= wanted:
        return 4
    return math.ceil(brentq(lambda n: width_of(n) - wanted, 4, _MOST))
