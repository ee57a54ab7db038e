"""Do sets of classes hold the true class as often as they were made for, in every subgroup?"""

from __future__ import annotations

import numpy as np

from lungcls.audit.finding import MIN_IMAGES, Finding, Row, interval, not_applicable
from lungcls.audit.table import PredictionTable
from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.cells import cells_of
from lungcls.evaluation.shares import GroupedShare
from lungcls.shortcuts.check import UNTOLD
from lungcls.shortcuts.rules import SET_SHORTFALL, all_at_least, beyond, figure_words


def set_coverage(table: PredictionTable, title: str) -> Finding:
    """Ask whether sets hold the true class as often as they were made for, by class and subgroup."""
    if not table.sets:
        return not_applicable("sets", title, "the predictions hold no sets (a column such as set_0.9)")
    answers, everything = table.answers, np.full(len(table), "all")
    columns = {"": everything, **{name: table.values(name) for name in table.columns}}
    rows: list[Row] = []
    judged: list[tuple[Estimate, str]] = []
    for asked, held in table.sets.items():
        inside = held[np.arange(len(table)), answers.labels]
        for column, values in columns.items():
            for (k, value), films in cells_of(answers, values).items():
                share = GroupedShare.of(inside, answers.groups, films)
                found, label, where = share.estimate(), answers.classes[k], f"{column} {value}".strip()
                row: Row = {"figure": f"coverage@{asked:g}", "class": label, "films": where}
                rows.append({**row, **interval(found, share.films)})
                text = (
                    f"{label}, {where}: sets for {asked:.0%} hold the class in {figure_words(found, 2)}; "
                    f"at least {asked - SET_SHORTFALL:.0%} asked"
                )
                judged.append((beyond(found, asked - SET_SHORTFALL), text))
    if not judged:
        return Finding("sets", title, UNTOLD, f"no class has {MIN_IMAGES} films", rows)
    _, because = min(judged, key=lambda one: one[0].value)
    return Finding("sets", title, all_at_least([margin for margin, _ in judged], 0), because, rows)
