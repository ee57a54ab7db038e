"""Is a class recognised as well whatever the value of an attribute: processing, source, age, sex, device?"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.cells import cells_of
from lungcls.evaluation.shares import GroupedShare, weighted_sum
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import UNTOLD, Row, Told
from lungcls.shortcuts.sample import interval
from lungcls.study.answers import Answers


def recall_gaps(answers: Answers, values: NDArray[np.str_], column: str) -> Told:
    """Compare recall, class by class, between the values of an attribute.

    Parameters
    ----------
    answers : Answers
    values : str array [N]
        "" where it is not known.
    column : str
        What the attribute is called.

    Returns
    -------
    Told
        A row a class and value: recall, with Wilson's interval; a row a class and pair of values: the gap,
        the better minus the worse, with Newcombe's. Both have a width where all films are right, which
        resampling would not give. Class by class, since over all classes opposite gaps cancel.

    References
    ----------
    Newcombe (1998), Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17(8), 873-890.
    """
    cells = {
        key: GroupedShare.of(answers.right, answers.groups, films)
        for key, films in cells_of(answers, values).items()
    }
    rows: list[Row] = [
        {
            "figure": "recall",
            "class": answers.classes[k],
            "films": name,
            **interval(cell.estimate(), cell.films),
        }
        for (k, name), cell in cells.items()
    ]
    gaps: list[tuple[Estimate, str, int]] = []
    for pair in itertools.combinations(cells, 2):
        (k, better), (other, worse) = sorted(pair, key=lambda key: -cells[key].value)
        if k != other:
            continue
        one, two = cells[k, better], cells[k, worse]
        gap, films = weighted_sum([one, two], [1, -1]), one.films + two.films
        row = {"figure": "gap", "class": answers.classes[k], "films": f"{better} over {worse}"}
        rows.append({**row, **interval(gap, films)})
        text = f"{answers.classes[k]}, {better} {one.value:.2f} against {worse} {two.value:.2f}"
        gaps.append((gap, text, films))
    if not gaps:
        why = f"no class has {rules.MIN_IMAGES} films in each of two values of {column!r}"
        return Told(UNTOLD, why, rows)
    worst, text, films = max(gaps, key=lambda one: one[0].value)
    because = (
        f"largest gap of recall: {text}, {rules.figure_words(worst)}; limit {rules.PROCESSING_GAP:g}"
        f"{rules.size_words(worst, rules.PROCESSING_GAP, films)}"
    )
    # Which of two is better is chance where they are alike: neither may exceed the other by the limit.
    both = [one for gap, _, _ in gaps for one in (gap, rules.turned(gap))]
    return Told(rules.all_at_most(both, rules.PROCESSING_GAP), because, rows)
