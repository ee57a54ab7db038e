"""Scores of films by small models that never saw them: 5-fold cross-fitting by group."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from lungcls.evaluation.bootstrap import group_resamples

_FOLDS: Final = 5

Floats = NDArray[np.float64]


def cross_fitted(
    make: Callable[[], Any], features: Floats, positive: NDArray[np.bool_], groups: Sequence[Any], seed: int
) -> Floats | None:
    """Return how much each film looks like one of the positive class, by models of the other folds.

    Parameters
    ----------
    make : callable
        Returns a fresh scikit-learn classifier with ``decision_function``.
    features : float64 array [N, F]
    positive : bool array [N]
    groups : sequence, length N
        Films of one group are never in two folds.
    seed : int

    Returns
    -------
    float64 array [N] in (0, 1), or None
        Ranks within the fold: each fold's model has its own scale. None where a fold has no film of a class.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    codes = group_resamples(groups, 0).codes
    if min(len(set(codes[positive == which].tolist())) for which in (True, False)) < _FOLDS:
        return None
    scores = np.full(len(positive), np.nan)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(features, positive, codes):
        if len(set(positive[train].tolist())) < 2 or not len(test):
            continue
        model = make()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant pixels (black borders) are no news here
            model.fit(features[train], positive[train])
        answers = model.decision_function(features[test])
        # Films that look the same share a rank: datasets are in the order of their classes.
        scores[test] = (rankdata(answers.round(9)) - 0.5) / len(test)
    return None if np.isnan(scores).any() else scores


def trees() -> Any:
    """Return gradient-boosted trees for a few hundred films of some dozen numbers; nan is the median."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    # One thread: for so few films the many threads of the histogram-based ones wait for each other.
    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        GradientBoostingClassifier(n_estimators=60, subsample=0.8, max_features=0.3, random_state=0),
    )


def logistic() -> Any:
    """Return a strongly regularised logistic regression for many features; nan is the median."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=0.01, max_iter=500, class_weight="balanced"),
    )
