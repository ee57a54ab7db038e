"""Check N: is a model as good where class and source are unrelated, or related the other way round?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.cells import NONE_COMPARED, Cells, cells_of, compared
from lungcls.evaluation.shares import GroupedShare, weighted_sum
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import UNTOLD, Audit, Check, Finding, Row, Told
from lungcls.shortcuts.sample import Trial, interval
from lungcls.study.answers import Answers


class SkewReversal(Check):
    """Weigh films so that class and source are unrelated, or related the other way: :func:`skew`."""

    name = "skew_reversal"
    number = "N"
    title = "Class and source unrelated, and related the other way round"
    of_answers = True
    limit = rules.SKEW_DROP
    plot_title = "Drop of balanced accuracy"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['column']}, {row['relation']}" if row["figure"] == "drop" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        return self.finding(*skew(trial.answered, trial.columns))


def skew(answers: Answers, columns: Mapping[str, NDArray[np.str_]]) -> Told:
    """Ask what is lost where class and attribute are unrelated, and where they are related the other way.

    Over the classes with two or more values of enough films. Recalls of classes in values are weighted, as
    they would be in a sample of such films: nothing is drawn twice, and the shares of the classes do not
    matter.

    Parameters
    ----------
    answers : Answers
    columns : mapping of str to str array [N]
        Attributes by name; "" where one is not known.

    Returns
    -------
    Told
        A row a column and weighing: the mean recall over these classes, and its drop.
    """
    rows: list[Row] = []
    judged: list[tuple[Estimate, str, int]] = []
    for column, values in columns.items():
        known = cells_of(answers, values)
        cells = compared(known)
        if not cells:
            continue
        of_value: dict[str, int] = {}
        for (_, name), films in known.items():
            of_value[name] = of_value.get(name, 0) + int(films.sum())
        recalls = [GroupedShare.of(answers.right, answers.groups, films) for films in cells.values()]
        classes = dict.fromkeys(k for k, _ in cells)
        names, n = ", ".join(answers.classes[k] for k in classes), sum(one.films for one in recalls)
        home = _weights(cells, of_value, 1.0)
        for relation, power in (("as it is", 1.0), ("unrelated", 0.0), ("reversed", -1.0)):
            weights = _weights(cells, of_value, power)
            row: Row = {"column": column, "relation": relation, "classes": names}
            figure = weighted_sum(recalls, weights.tolist())
            rows.append({**row, "figure": "balanced_accuracy", **interval(figure, n)})
            if power == 1.0:
                continue
            drop = weighted_sum(recalls, (home - weights).tolist())
            rows.append({**row, "figure": "drop", **interval(drop, n)})
            judged.append((drop, f"with {column} and class {relation}", n))
    if not judged:
        return Told(UNTOLD, NONE_COMPARED, rows)
    worst, what, n = max(judged, key=lambda one: one[0].value)
    because = (
        f"balanced accuracy falls by {rules.figure_words(worst)} {what}; "
        f"limit {rules.SKEW_DROP:g}{rules.size_words(worst, rules.SKEW_DROP, n)}"
    )
    return Told(rules.all_at_most([drop for drop, _, _ in judged], rules.SKEW_DROP), because, rows)


def _weights(cells: Cells, of_value: Mapping[str, int], power: float) -> NDArray[np.float64]:
    """The share of each cell in the mean recall over the classes of the cells.

    A value's share within a class goes with how much more often it is found there than among all films
    (`of_value`, films of every class), to the power: 1 is the sample, 0 unrelated, -1 as rare as it was
    frequent.
    """
    classes = np.unique([k for k, _ in cells], return_inverse=True)[1]
    everywhere = np.asarray([of_value[name] for _, name in cells], np.float64)
    here = np.asarray([films.sum() for films in cells.values()], np.float64)
    shares = everywhere * (here / everywhere) ** power
    return np.asarray(shares / np.bincount(classes, shares)[classes] / (classes.max() + 1))
