"""Is every subgroup served as well? Recall by class, and coverage of sets, between values of an attribute."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from lungcls.audit.finding import (
    MIN_IMAGES,
    SET_SHORTFALL,
    Finding,
    Row,
    interval,
    n_groups,
    not_applicable,
    words,
)
from lungcls.audit.table import PredictionTable
from lungcls.evaluation.bootstrap import Estimate
from lungcls.shortcuts.check import UNTOLD, Verdict, joined
from lungcls.shortcuts.rules import PROCESSING_GAP, at_least, at_most

_POWER = 0.8


@dataclass(frozen=True)
class _Cell:
    """How many films of one class and subgroup are right."""

    name: str
    share: float
    films: int
    groups: int

    def estimate(self, level: float = 0.95) -> Estimate:
        """Wilson's interval; a group counts as one film, however many it has."""
        low, high = proportion_confint(self.share * self.groups, self.groups, 1 - level, "wilson")
        return Estimate(self.share, float(low), float(high))

    def minus(self, other: _Cell, level: float) -> Estimate:
        """Newcombe's interval of a difference."""
        ends = confint_proportions_2indep(
            self.share * self.groups,
            self.groups,
            other.share * other.groups,
            other.groups,
            method="newcomb",
            compare="diff",
            alpha=1 - level,
        )
        return Estimate(self.share - other.share, float(ends[0]), float(ends[1]))


def _cells(
    right: NDArray[np.bool_], values: NDArray[np.str_], of: NDArray[np.bool_], groups: tuple[str, ...]
) -> list[_Cell]:
    cells = []
    for name in sorted(set(values[of].tolist()) - {""}):
        chosen = of & (values == name)
        if int(chosen.sum()) >= MIN_IMAGES:
            share = float(right[chosen].mean())
            cells.append(_Cell(name, share, int(chosen.sum()), n_groups(groups, chosen)))
    return cells


def recall_gaps(table: PredictionTable, column: str, title: str) -> Finding:
    """Compare recall, class by class, between the values of a column.

    Parameters
    ----------
    table : PredictionTable
    column : str
    title : str

    Returns
    -------
    Finding
        Intervals are Newcombe's, at a level that allows for the number of pairs that are compared
        (Bonferroni); a group counts as one film.

    References
    ----------
    Newcombe (1998), Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17(8), 873-890.
    """
    name = f"gap_{column}"
    if column not in table.columns:
        return not_applicable(name, title, f"no column {column!r} is known of these films")
    answers = table.answers
    by_class = {
        label: _cells(answers.right, table.values(column), answers.labels == k, answers.groups)
        for k, label in enumerate(answers.classes)
    }
    pairs = [
        (label, one, two)
        for label, cells in by_class.items()
        for one, two in itertools.combinations(cells, 2)
    ]
    rows: list[Row] = [
        {"figure": "recall", "class": label, column: cell.name, **interval(cell.estimate(), cell.films)}
        for label, cells in by_class.items()
        for cell in cells
    ]
    if not pairs:
        why = f"no class has {MIN_IMAGES} films in each of two values of {column!r}"
        return Finding(name, title, UNTOLD, why, rows)
    level = 1 - 0.05 / len(pairs)
    judged: list[tuple[Verdict, Estimate, str, int]] = []
    for label, one, two in pairs:
        better, worse = (one, two) if one.share >= two.share else (two, one)
        gap = better.minus(worse, level)
        needed = _needed((one.share + two.share) / 2, level)
        text = f"{label}: {better.name} {better.share:.2f}, {worse.name} {worse.share:.2f}"
        judged.append((at_most(gap, PROCESSING_GAP), gap, text, needed))
        rows.append(
            {
                "figure": "gap",
                "class": label,
                column: f"{better.name} over {worse.name}",
                **interval(gap, min(one.films, two.films)),
                "films_to_decide": needed,
            }
        )
    verdict = joined([each[0] for each in judged])
    _, gap, text, needed = max(judged, key=lambda each: each[1].value)
    because = (
        f"largest gap of recall: {text}, gap {words(gap)}; limit {PROCESSING_GAP:g}, "
        f"pairs allowed for: {len(pairs)}"
    )
    if verdict == UNTOLD:
        because += f"; about {needed} films of the class in each would decide"
    return Finding(name, title, verdict, because, rows)


def _needed(share: float, level: float) -> int:
    """Films of either side that show a gap below the limit in 4 of 5 studies, where there is none."""
    share = min(max(share, 0.05), 0.95)
    reach = float(norm.ppf(1 - (1 - level) / 2) + norm.ppf(_POWER))
    return math.ceil(reach**2 * 2 * share * (1 - share) / PROCESSING_GAP**2)


def set_coverage(table: PredictionTable, title: str) -> Finding:
    """Ask whether sets hold the true class as often as they were made for, by class and subgroup."""
    if not table.sets:
        return not_applicable("sets", title, "the predictions hold no sets (a column such as set_0.9)")
    answers = table.answers
    rows: list[Row] = []
    judged: list[tuple[Verdict, Estimate, str, float]] = []
    for asked, held in table.sets.items():
        inside = held[np.arange(len(table)), answers.labels]
        for k, label in enumerate(answers.classes):
            mine = answers.labels == k
            columns = {"": np.where(mine, "all", ""), **{name: table.values(name) for name in table.columns}}
            for column, values in columns.items():
                for cell in _cells(inside, values, mine, answers.groups):
                    found = cell.estimate()
                    where = f"{column} {cell.name}".strip()
                    rows.append(
                        {
                            "figure": f"coverage@{asked:g}",
                            "class": label,
                            "films": where,
                            **interval(found, cell.films),
                        }
                    )
                    judged.append((at_least(found, asked - SET_SHORTFALL), found, f"{label}, {where}", asked))
    if not judged:
        return Finding("sets", title, UNTOLD, f"no class has {MIN_IMAGES} films", rows)
    _, worst, text, asked = min(judged, key=lambda each: each[1].value - each[3])
    least = asked - SET_SHORTFALL
    because = f"{text}: sets for {asked:.0%} hold the class in {words(worst)}; at least {least:.0%} asked"
    return Finding("sets", title, joined([each[0] for each in judged]), because, rows)
