"""Do features carry where a film comes from, and does the answer rest on that?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lungcls.audit.finding import (
    MIN_IMAGES,
    Finding,
    Row,
    estimate_of,
    interval,
    not_applicable,
    words,
)
from lungcls.audit.table import PredictionTable
from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import Estimate, group_resamples
from lungcls.evaluation.weighted import Floats, difference, macro_auroc
from lungcls.shortcuts.check import UNTOLD, Verdict, joined
from lungcls.shortcuts.rules import PROJECTED_DROP, at_most

_FOLDS = 5
_COMPONENTS = 64
_STRENGTH = 0.1  # of the logistic regressions: 1,000 features and as many films need a strong penalty


def read_features(path: str | Path, n: int) -> Floats:
    """Read features, ``.npy`` [N, F], one row a prediction, in the order of the predictions.

    Raises
    ------
    DataError
        If the file cannot be read, or has another shape, or holds what is not finite.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: not readable as .npy ({error}); write it with numpy.save, no objects in it"
        ) from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or len(values) != n or not values.shape[1]:
        shape = list(getattr(values, "shape", []))
        raise DataError(f"{path}: shape {shape}; expected [{n}, F]: one row a prediction, in their order")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise DataError(f"{path}: row {row} (from 0) holds what is not finite")
    return values


def dependence(
    table: PredictionTable, features: Floats | None, title: str, seed: int, n_resamples: int
) -> Finding:
    """Take what tells an attribute out of the features, and see what is lost of the classes.

    In each of five folds by group, features are centred within their class, a logistic regression tells the
    attribute from them, and its directions are projected out; classes are read from the features before and
    after by another. Cross-fitted, so that no film is judged by what it taught.

    References
    ----------
    Ravfogel, Elazar, Gonen, Twiton, Goldberg (2020), Null it out: guarding protected attributes by iterative
    nullspace projection, ACL (one round of it).
    """
    if features is None:
        return not_applicable("dependence", title, "no features were given (--features)")
    rows: list[Row] = []
    judged: list[tuple[Verdict, Estimate, str]] = []
    for column in table.columns:
        values = table.values(column)
        names = [
            name for name in sorted(set(values.tolist()) - {""}) if int((values == name).sum()) >= MIN_IMAGES
        ]
        at = np.flatnonzero(np.isin(values, names))
        if len(names) < 2:
            continue
        found = _taken_out(
            features[at], table.answers.labels[at], values[at], [table.answers.groups[i] for i in at], seed
        )
        if found is None:
            continue
        told, before, after = found
        groups = [table.answers.groups[i] for i in at]
        codes = np.searchsorted(names, values[at])
        carried = estimate_of(macro_auroc(codes, told), groups, seed, n_resamples)
        labels = table.answers.labels[at]
        lost = estimate_of(
            difference(macro_auroc(labels, after), macro_auroc(labels, before)), groups, seed, n_resamples
        )
        told_by = f"{column} is told within classes with AUROC {carried.value:.2f}"
        text = f"{told_by}, and {words(lost)} is lost without it"
        judged.append((at_most(lost, PROJECTED_DROP), lost, text))
        rows += [
            {"figure": "auroc of the attribute within classes", "by": column, **interval(carried, len(at))},
            {"figure": "macro AUROC lost without it", "by": column, **interval(lost, len(at))},
        ]
    if not judged:
        return Finding(
            "dependence", title, UNTOLD, f"no column has two values with {MIN_IMAGES} films each", rows
        )
    _, _, text = max(judged, key=lambda each: each[1].value)
    because = f"{text}; limit {PROJECTED_DROP:g}"
    return Finding("dependence", title, joined([each[0] for each in judged]), because, rows)


def _taken_out(
    features: Floats, labels: NDArray[np.int64], values: NDArray[np.str_], groups: list[str], seed: int
) -> tuple[Floats, Floats, Floats] | None:
    """Cross-fitted: scores of the attribute, of the classes, and of the classes without it."""
    names, classes = np.unique(values), np.unique(labels)
    codes = group_resamples(groups, 0).codes
    told = np.zeros((len(labels), len(names)))
    before, after = (np.zeros((len(labels), int(labels.max()) + 1)) for _ in range(2))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(features, labels, codes):
        if len(np.unique(values[train])) < len(names) or len(np.unique(labels[train])) < len(classes):
            return None
        size = min(_COMPONENTS, features.shape[1], len(train) - 1)
        scaled = make_pipeline(StandardScaler(), PCA(size, whiten=True, random_state=seed)).fit(
            features[train]
        )
        fitted, other = scaled.transform(features[train]), scaled.transform(features[test])
        means = {k: fitted[labels[train] == k].mean(axis=0) for k in classes}
        attribute = _logistic(fitted - np.stack([means[k] for k in labels[train]]), values[train])
        told[test] = _columns(
            attribute, other - np.stack([means[k] for k in labels[test]]), len(names), range(len(names))
        )
        basis = np.linalg.svd(attribute.coef_, full_matrices=False)[2][: max(1, len(names) - 1)]
        before[test] = _columns(_logistic(fitted, labels[train]), other, before.shape[1], classes)
        without = [part - part @ basis.T @ basis for part in (fitted, other)]
        after[test] = _columns(_logistic(without[0], labels[train]), without[1], after.shape[1], classes)
    return told, before, after


def _logistic(features: Floats, targets: NDArray[Any]) -> LogisticRegression:
    model = LogisticRegression(C=_STRENGTH, max_iter=500, class_weight="balanced")
    return model.fit(features, targets)


def _columns(model: LogisticRegression, features: Floats, count: int, places: Any) -> Floats:
    scores = np.zeros((len(features), count))
    scores[:, list(places)] = model.predict_proba(features)
    return scores
