"""Check L: how much of what tells the classes lies where the features tell a source, or an age?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate, group_resamples
from lungcls.evaluation.cells import NONE_COMPARED, Cells, cells_of, compared
from lungcls.evaluation.weighted import Floats, difference, estimate, macro_auroc
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import UNTOLD, Audit, Check, Finding, Row, Told
from lungcls.shortcuts.sample import Trial, interval
from lungcls.shortcuts.source import model_features
from lungcls.shortcuts.subject import FeatureSubject
from lungcls.study.answers import Answers

_FOLDS: Final = 5
_COMPONENTS: Final = 32
_STRENGTH: Final = 0.1  # of the logistic regressions
_SMALLEST: Final = 1e-6  # of the directions, over the largest: what is less is rounding


class Dependence(Check):
    """Take what tells a source out of the features, and see what that costs: :func:`dependence`."""

    name = "dependence"
    number = "L"
    title = "The direction of source and processing taken out of the features"
    of_answers = True
    limit = rules.PROJECTED_DROP
    plot_title = "Drop of macro AUROC"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return str(row["column"]) if row["figure"] == "drop" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if not isinstance(trial.subject, FeatureSubject):
            return self.untold("the model shows no features")
        features = model_features(trial)
        return self.finding(
            *dependence(trial.answered, trial.columns, features, trial.seed, trial.n_resamples)
        )


def dependence(
    answers: Answers, columns: Mapping[str, NDArray[np.str_]], features: Floats, seed: int, n_resamples: int
) -> Told:
    """Ask what is lost of the classes without the directions in which features tell an attribute.

    The features are whitened on their first 32 principal components. Of each value, its mean within a class
    from the middle of the class's values, averaged over the classes that have it, is projected out: what
    differs by the class stays, and no linear reader finds the value in the rest. A logistic regression tells
    the classes before and after. All is cross-fitted in five folds by group.

    Parameters
    ----------
    answers : Answers
    columns : mapping of str to str array [N]
        Attributes by name; "" where one is not known.
    features : float array [N, F]
    seed : int
    n_resamples : int
        Of the bootstrap by group.

    Returns
    -------
    Told
        Rows of each attribute: macro AUROC of the classes before and after, and the drop, under the same
        resamples; and how well the features tell the attribute within the classes.

    References
    ----------
    Belrose et al. (2023), LEACE: perfect linear concept erasure in closed form, NeurIPS.
    """
    resamples = group_resamples(answers.groups, n_resamples, seed)
    rows: list[Row] = []
    judged: dict[str, Estimate] = {}
    unread = []
    for column, values in columns.items():
        cells = compared(cells_of(answers, values))
        if not cells:
            continue
        read = _read(answers, features, cells, seed)
        if read is None:
            unread.append(column)
            continue
        before, after = (macro_auroc(answers.labels, one) for one in read[:2])
        drop = judged[column] = estimate(difference(after, before), resamples)
        for what, figure in (("before", before), ("after", after)):
            row: Row = {"column": column, "what": what, "figure": "macro_auroc"}
            rows.append({**row, **interval(estimate(figure, resamples), len(features))})
        rows.append({"column": column, "what": "", "figure": "drop", **interval(drop, len(features))})
        at = np.flatnonzero(np.any(list(cells.values()), axis=0))
        names = sorted({name for _, name in cells})
        told = macro_auroc(np.searchsorted(names, values[at]), read[2][at])
        groups = group_resamples([answers.groups[i] for i in at.tolist()], n_resamples, seed)
        row = {"column": column, "what": "the values within the classes", "figure": "told"}
        rows.append({**row, **interval(estimate(told, groups), len(at))})
    if not judged:
        why = NONE_COMPARED
        if unread:
            why = f"a class has too few groups of films to be told by models of others ({', '.join(unread)})"
        return Told(UNTOLD, why, rows)
    worst = max(judged, key=lambda column: judged[column].value)
    because = (
        f"without the directions of {worst} the macro AUROC of the features falls by "
        f"{rules.figure_words(judged[worst])}; limit {rules.PROJECTED_DROP:g}"
        f"{rules.size_words(judged[worst], rules.PROJECTED_DROP, len(features))}"
    )
    return Told(rules.all_at_most(list(judged.values()), rules.PROJECTED_DROP), because, rows)


def _read(
    answers: Answers, features: Floats, cells: Cells, seed: int
) -> tuple[Floats, Floats, Floats] | None:
    """Cross-fitted probabilities of the classes before and after, [N, K], and of the values, [N, V].

    None where the models of a fold would not know each class.
    """
    from sklearn.decomposition import PCA
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels, codes = answers.labels, group_resamples(answers.groups, 0).codes
    classes, names = np.unique(labels), sorted({name for _, name in cells})
    if len(np.unique(codes)) < _FOLDS:
        return None
    value = np.full(len(labels), -1)
    for (_, name), films in cells.items():
        value[films] = names.index(name)
    before, after = (np.zeros((len(labels), len(answers.classes))) for _ in range(2))
    told = np.zeros((len(labels), len(names)))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rare classes, and features that are always 0, are no news here
        for train, test in folds.split(features, labels, codes):
            if len(np.unique(labels[train])) < len(classes):
                return None
            size = min(_COMPONENTS, len(train) // 4, features.shape[1])
            whitened = make_pipeline(StandardScaler(), PCA(size, whiten=True, random_state=0))
            seen = whitened.fit(features[train]).transform(features)
            means: dict[int, dict[str, Floats]] = {}
            for (k, name), films in cells.items():
                if films[train].any():
                    means.setdefault(k, {})[name] = seen[train][films[train]].mean(axis=0)
            away: dict[str, list[Floats]] = {}
            centred = seen.copy()
            for k, of_class in means.items():
                middle = np.mean(list(of_class.values()), axis=0)
                centred[labels == k] -= middle
                for name, mean in of_class.items():
                    away.setdefault(name, []).append(mean - middle)
            _, sizes, ways = np.linalg.svd([np.mean(one, axis=0) for one in away.values()], False)
            basis = ways[sizes > _SMALLEST * sizes[0]]
            for result, shown in ((before, seen), (after, seen - seen @ basis.T @ basis)):
                result[np.ix_(test, classes)] = _logistic(shown[train], labels[train], shown[test])[0]
            known = train[value[train] >= 0]
            scores, there = _logistic(centred[known], value[known], centred[test])
            told[np.ix_(test, there)] = scores
    return before, after, told


def _logistic(features: Floats, targets: NDArray[Any], others: Floats) -> tuple[Floats, NDArray[Any]]:
    """Probabilities of other films, and the targets that they are of."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=_STRENGTH, max_iter=500, class_weight="balanced").fit(features, targets)
    return np.asarray(model.predict_proba(others)), np.asarray(model.classes_)
