"""Decision curves: what acting on a classifier's probabilities is worth, beside acting on all or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lungcls.evaluation.bootstrap import Estimate, bootstrap_estimates, group_resamples
from lungcls.study.answers import Answers

Floats = npt.NDArray[np.float64]

THRESHOLDS: Final = np.arange(1, 100) / 100
"""Threshold probabilities, from 0.01 to 0.99."""


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit of one class against the rest.

    Attributes
    ----------
    name : str
        Of the class.
    prevalence : float
        Share of the films that are of it.
    thresholds : float64 array [T]
        Threshold probabilities, in (0, 1).
    benefit : list of Estimate, length T
        Net benefit of acting on the films whose probability is at least the threshold, in true positives per
        film, with intervals by group.
    treat_all : float64 array [T]
        Net benefit of acting on every film; acting on none has 0.
    """

    name: str
    prevalence: float
    thresholds: Floats
    benefit: list[Estimate]
    treat_all: Floats


def net_benefit(
    positive: npt.NDArray[np.bool_], probabilities: Floats, thresholds: Floats, weights: Floats | None = None
) -> Floats:
    """Return net benefit: true positives less false positives at the threshold's odds, per film.

    Parameters
    ----------
    positive : bool array [N]
    probabilities : float64 array [N]
        Of being positive, in [0, 1].
    thresholds : float64 array [T]
        In (0, 1).
    weights : float64 array [r, N], optional
        Of the films, a resample a row; by default all count once.

    Returns
    -------
    float64 array [r, T]

    References
    ----------
    Vickers, Elkin (2006), Decision curve analysis: a novel method for evaluating prediction models, Medical
    Decision Making 26(6), 565-574.
    """
    counts = np.ones((1, len(positive))) if weights is None else weights
    acted = probabilities[:, None] >= thresholds
    odds = thresholds / (1 - thresholds)
    value = acted * (positive[:, None] - ~positive[:, None] * odds)
    return np.asarray(counts @ value / counts.sum(axis=1, keepdims=True))


def decision_curves(answers: Answers, n_resamples: int = 500, seed: int = 0) -> list[DecisionCurve]:
    """Return the decision curve of each class that the films hold and lack.

    Parameters
    ----------
    answers : Answers
    n_resamples, seed : int
        Of the bootstrap by group.

    Returns
    -------
    list of DecisionCurve
    """
    resamples = group_resamples(answers.groups, n_resamples, seed)
    odds = THRESHOLDS / (1 - THRESHOLDS)
    curves = []
    for index, name in enumerate(answers.classes):
        positive, probabilities = answers.labels == index, answers.probabilities[:, index]
        prevalence = float(positive.mean())
        if prevalence in (0.0, 1.0):
            continue

        def statistics(
            weights: Floats, positive: npt.NDArray[np.bool_] = positive, probabilities: Floats = probabilities
        ) -> dict[int, Floats]:
            return dict(enumerate(net_benefit(positive, probabilities, THRESHOLDS, weights).T))

        estimates = bootstrap_estimates(statistics, resamples)
        benefit = [estimates[place] for place in range(len(THRESHOLDS))]
        curves.append(
            DecisionCurve(name, prevalence, THRESHOLDS, benefit, prevalence - (1 - prevalence) * odds)
        )
    return curves
