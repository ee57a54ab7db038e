"""Check L: how much of what tells the classes lies in the direction of a source?"""

from __future__ import annotations

import itertools
import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.weighted import Floats, difference, macro_auroc
from lungcls.shortcuts import rules
from lungcls.shortcuts.blanked import too_few
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.sample import Trial, interval
from lungcls.shortcuts.source import COLUMNS, cells_of, model_features, told
from lungcls.shortcuts.subject import FeatureSubject

_FOLDS: Final = 5
_COMPONENTS: Final = 32

Contrasts = dict[tuple[str, str], tuple[NDArray[np.bool_], NDArray[np.bool_]]]


class Dependence(Check):
    """Take the direction of source or processing out of the features, and measure what that costs.

    The features of the last layer are whitened on their first 32 principal components, and the difference of
    the means of two sources *within a class*, averaged over the classes that have both, is projected out, so
    that what differs by the class stays.
    A logistic regression tells the classes before and after, all cross-fitted by group. Rows: macro AUROC
    before and after and the drop, under the same resamples; and how well the features tell the two sources
    within the class.

    References
    ----------
    Belrose et al. (2023), LEACE: perfect linear concept erasure in closed form, NeurIPS.
    """

    name = "dependence"
    number = "L"
    title = "The direction of source and processing taken out of the features"
    limit = rules.PROJECTED_DROP
    plot_title = "Drop of macro AUROC"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return str(row["column"]) if row["figure"] == "drop" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if not isinstance(trial.subject, FeatureSubject):
            return self.untold("the model shows no features")
        if why := too_few(trial):
            return self.untold(why)
        features = model_features(trial)
        rows: list[dict[str, Any]] = []
        judged: dict[str, Estimate] = {}
        for column in COLUMNS:
            contrasts = _contrasts(trial, column)
            if not contrasts:
                continue
            both = _probabilities(trial, features, contrasts)
            if both is None:
                continue
            before, after = (macro_auroc(trial.labels, probabilities) for probabilities in both)
            drop = judged[column] = trial.estimate(difference(after, before))
            for when, figure in (("before", before), ("after", after)):
                row = {"column": column, "what": when, "figure": "macro_auroc"}
                rows.append({**row, **interval(trial.estimate(figure), len(features))})
            rows.append({"column": column, "what": "", "figure": "drop", **interval(drop, len(features))})
            for (values, name), (one, two) in contrasts.items():
                what = f"{values} within {name}"
                at = np.flatnonzero(one | two)
                found = told(features[at], two[at], [trial.sample.groups[i] for i in at], trial)
                if found is not None:
                    rows.append(
                        {"column": column, "what": what, "figure": "told", **interval(found, len(at))}
                    )
        if not judged:
            return self.untold(
                f"no class has two sources or processings with {rules.MIN_IMAGES} images each in this sample",
                rows,
            )
        worst = max(judged, key=lambda column: judged[column].value)
        drop = judged[worst]
        because = (
            f"without the direction of {worst} the macro AUROC of the features falls by {drop.value:.3f} ("
            f"{drop.low:.3f} to {drop.high:.3f}); limit {rules.PROJECTED_DROP}"
            f"{rules.size_words(drop, rules.PROJECTED_DROP, len(features))}"
        )
        verdict = rules.all_at_most(list(judged.values()), rules.PROJECTED_DROP)
        return self.finding(verdict, because, rows)


def _contrasts(trial: Trial, column: str) -> Contrasts:
    """Pairs of values of a column within one class, each with enough films, by pair and class."""
    cells = cells_of(trial, column)
    return {
        (f"{one} / {two}", trial.subject.classes[k]): (cells[k, one], cells[k, two])
        for (k, one), (other, two) in itertools.combinations(cells, 2)
        if k == other
    }


def _probabilities(trial: Trial, features: Floats, contrasts: Contrasts) -> tuple[Floats, Floats] | None:
    """Cross-fitted probabilities [N, K] of the classes before and after the projection."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels, codes = trial.labels, trial.resamples.codes
    results = (np.full((len(labels), len(trial.subject.classes)), np.nan) for _ in range(2))
    before, after = results
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=trial.seed)
    for train, test in folds.split(features, labels, codes):
        if len(set(labels[train].tolist())) < before.shape[1]:
            return None
        components = min(_COMPONENTS, len(train) // 4, features.shape[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a feature that is always 0 is no news here
            whitened = make_pipeline(StandardScaler(), PCA(components, whiten=True, random_state=0))
            seen = whitened.fit(features[train]).transform(features)
        apart: dict[str, list[Floats]] = {}
        for (values, _), (one, two) in contrasts.items():
            if one[train].any() and two[train].any():
                away = seen[train][one[train]].mean(0) - seen[train][two[train]].mean(0)
                apart.setdefault(values, []).append(away)
        directions = np.stack([np.mean(aways, axis=0) for aways in apart.values()], axis=1)
        basis = np.linalg.qr(directions)[0]
        for result, shown in ((before, seen), (after, seen - seen @ basis @ basis.T)):
            model = LogisticRegression(C=0.1, max_iter=500, class_weight="balanced")
            result[test] = model.fit(shown[train], labels[train]).predict_proba(shown[test])
    return (before, after)
