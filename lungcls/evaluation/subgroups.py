"""Recall by subgroup, and macro-F1 where no subgroup tells the class: processings, sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate, group_resamples
from lungcls.evaluation.cells import Cells, cells_of, compared
from lungcls.evaluation.shares import GroupedShare, weighted_sum
from lungcls.evaluation.weighted import Floats, estimate, macro_f1
from lungcls.study.answers import Answers


def subgroup_rows(
    answers: Answers, columns: Mapping[str, NDArray[np.str_]], n_resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Measure a classifier by subgroups.

    Parameters
    ----------
    answers : Answers
    columns : mapping of str to str array [N]
        Subgroup of each film by attribute, such as ``processing``; "" where it is not known.
    n_resamples, seed : int
        Of the bootstrap by group.

    Returns
    -------
    list of dict
        ``films, metric, class, value, low, high, n``, for attributes of which a class has two subgroups:

        ``recall``, films ``processing a``
            Of each class and subgroup, with Wilson's interval.
        ``recall_gap``, films ``processing``
            Of each class: the best subgroup minus the worst, with Newcombe's interval. 0 or more by the way
            it is chosen.
        ``macro_f1``, films ``processing balanced``
            Films weighed so that, within each class, all subgroups count the same and the class counts as
            before: a model gains nothing by telling the subgroup for the class.
    """
    rows: list[dict[str, Any]] = []
    for name, values in columns.items():
        cells = cells_of(answers, values)
        several = compared(cells)
        if not several:
            continue
        shares = {
            cell: GroupedShare.of(answers.right, answers.groups, films) for cell, films in cells.items()
        }
        for (k, value), share in shares.items():
            row = {"films": f"{name} {value}", "metric": "recall", "class": answers.classes[k]}
            rows.append({**row, **share.estimate().to_dict(), "n": share.films})
        for k in sorted({k for k, _ in several}):
            mine = [one for (other, _), one in shares.items() if other == k]
            best, worst = (pick(mine, key=lambda one: one.value) for pick in (max, min))
            gap = weighted_sum([best, worst], [1, -1])
            row = {"films": name, "metric": "recall_gap", "class": answers.classes[k]}
            rows.append({**row, **gap.to_dict(), "n": best.films + worst.films})
        balanced, films = _balanced(answers, cells, n_resamples, seed)
        row = {"films": f"{name} balanced", "metric": "macro_f1", "class": ""}
        rows.append({**row, **balanced.to_dict(), "n": films})
    return rows


def _balanced(answers: Answers, cells: Cells, n_resamples: int, seed: int) -> tuple[Estimate, int]:
    weights = balancing(answers.labels, cells)
    plain = macro_f1(answers.labels, answers.predicted, len(answers.classes))
    resamples = group_resamples(answers.groups, n_resamples, seed)
    return estimate(lambda drawn: plain(drawn * weights), resamples), int((weights > 0).sum())


def balancing(labels: NDArray[np.int64], cells: Cells) -> Floats:
    """Return weights [N] under which the cells of each class weigh the same, and each class what it weighed.

    Films of a class with cells that are in none of them weigh nothing; a class without cells stays as it is.
    """
    weights = np.ones(len(labels))
    for k in {k for k, _ in cells}:
        mine = [films for (other, _), films in cells.items() if other == k]
        weights[labels == k] = 0
        for films in mine:
            weights[films] = (labels == k).sum() / (len(mine) * films.sum())
    return weights
