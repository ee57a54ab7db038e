"""Films of one class and one value of an attribute, such as a source: what is compared within a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lungcls.study.answers import Answers

MIN_FILMS = 20
"""Of a cell; what is told of fewer is mostly chance."""

NONE_COMPARED = f"no class has {MIN_FILMS} films in each of two values of anything that is known of them"
"""Why nothing can be told where no class has two cells."""

Cells = dict[tuple[int, str], NDArray[np.bool_]]
"""By index of the class and by value; bool [N], which films."""


def cells_of(answers: Answers, values: NDArray[np.str_]) -> Cells:
    """Return the cells with enough films, in the order of classes and values; "" is no value."""
    names = sorted(set(values.tolist()) - {""})
    cells = {
        (k, name): (answers.labels == k) & (values == name)
        for k in range(len(answers.classes))
        for name in names
    }
    return {key: films for key, films in cells.items() if films.sum() >= MIN_FILMS}


def compared(cells: Cells) -> Cells:
    """Return the cells of the classes that have two or more."""
    classes = [k for k, _ in cells]
    return {(k, name): films for (k, name), films in cells.items() if classes.count(k) > 1}
