"""Tables in Markdown that read well as plain text, too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lungcls.errors import DataError

_INTERVAL = ("low", "high")


def markdown_table(
    headings: Sequence[str], lines: Sequence[Sequence[str]], *, right: Sequence[bool] | None = None
) -> str:
    """Lay cells out as a Markdown table.

    Parameters
    ----------
    headings : sequence of str, length C
    lines : sequence of sequence of str
        C cells a line.
    right : sequence of bool, length C, optional
        Columns whose cells are padded to one width and aligned at the right; the others at the left. Without
        it no cell is padded: for tables of long cells, in documents.

    Returns
    -------
    str
        Lines without a newline at the end.
    """
    if right is None:
        body = [f"| {' | '.join(cells)} |" for cells in (headings, *lines)]
        return "\n".join([body[0], "|" + "---|" * len(headings), *body[1:]])
    widths = [max(3, *(len(line[i]) for line in [headings, *lines])) for i in range(len(headings))]
    padded = [
        [
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(cells, widths, right, strict=True)
        ]
        for cells in (headings, *lines)
    ]
    rule = "".join(
        f"{'-' * (width + 1)}{':' if at_right else '-'}|" for width, at_right in zip(widths, right)
    )
    body = [f"| {' | '.join(cells)} |" for cells in padded]
    return "\n".join([body[0], "|" + rule, *body[1:]])


def format_table(rows: Sequence[Mapping[str, Any]], digits: int = 3, level: float = 0.95) -> str:
    """Lay rows out as a Markdown table with aligned columns, "value [low, high]" in one of them.

    Parameters
    ----------
    rows : sequence of mappings
        Columns are all keys in the order in which they first appear; low and high go into the column
        of value. A column that is empty in every row is left out.
    digits : int
        Digits after the point of numbers that are not whole by type.
    level : float
        Coverage of the intervals, for the heading.

    Returns
    -------
    str
        Lines without a newline at the end; "" if there are no rows. What is undefined shows as "-".
    """
    if not rows:
        return ""
    intervals = any(row.get(end) is not None for row in rows for end in _INTERVAL)
    shown = [column for column in columns(rows) if column not in _INTERVAL]
    shown = [
        column
        for column in shown
        if column == "value" or any(row.get(column) not in (None, "") for row in rows)
    ]
    headings = [f"value [{level:.0%} interval]" if c == "value" and intervals else c for c in shown]
    numeric = [all(_is_number(row.get(c)) for row in rows) for c in shown]
    body = [[_cell(row, column, digits) for column in shown] for row in rows]
    return markdown_table(headings, body, right=numeric)


def format_confusion(classes: Sequence[str], confusion: Any) -> str:
    """Lay a confusion matrix out as a Markdown table, one line a true class.

    Parameters
    ----------
    classes : sequence of str, length K
    confusion : array-like of int, shape [K, K]
        Rows true, columns predicted.

    Returns
    -------
    str

    Raises
    ------
    DataError
        If the shape does not fit the classes.
    """
    counts = np.asarray(confusion)
    if counts.shape != (len(classes), len(classes)):
        raise DataError(
            f"the confusion matrix has the shape {list(counts.shape)} for {len(classes)} classes; "
            "expected one row and one column a class"
        )
    body = [
        [name, *(str(count) for count in row)] for name, row in zip(classes, counts.tolist(), strict=True)
    ]
    return markdown_table(["true \\ predicted", *classes], body, right=[False] + [True] * len(classes))


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return all keys of some rows, in the order in which they first appear."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | np.number) and not isinstance(value, bool))


def _number(value: Any, digits: int) -> str:
    if value is None or (isinstance(value, float | np.floating) and not math.isfinite(value)):
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float | np.floating) else str(value)


def _cell(row: Mapping[str, Any], column: str, digits: int) -> str:
    value = row.get(column)
    if isinstance(value, str):
        return value.replace("|", "\\|").replace("\n", " ")
    text = _number(value, digits)
    if column == "value":
        low, high = (_number(row.get(end), digits) for end in _INTERVAL)
        if (low, high) != ("-", "-"):
            text += f" [{low}, {high}]"
    return text
