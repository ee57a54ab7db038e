"""Results as files (JSON and CSV) and as a table that reads well as plain text and as Markdown."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.errors import DataError
from lungcls.files import atomic_write

_INTERVAL = ("low", "high")


def write_results(
    folder: str | os.PathLike[str], name: str, rows: Sequence[Mapping[str, Any]], payload: Mapping[str, Any]
) -> tuple[Path, Path]:
    """Write ``<name>.json`` (all of the payload) and ``<name>.csv`` (one line a row).

    Parameters
    ----------
    folder : path-like
        Made if it is missing. Files of these names are replaced.
    name : str
        Name without suffix or folder.
    rows : sequence of mappings
        Such as `to_rows` of a report gives. The columns are all keys, in the order in which they first
        appear; what is missing, None or nan is left empty.
    payload : mapping
        Such as `to_dict` of a report gives. numpy values, paths and tuples become plain ones, nan and
        infinity become null.

    Returns
    -------
    json_path, csv_path : Path

    Raises
    ------
    DataError
        If the name is no plain file name, or the payload holds something that JSON cannot.
    """
    folder = Path(folder)
    json_path = folder / f"{_file_name(name)}.json"
    # The text is made before either file, so that an error leaves the old pair as it was.
    text = json.dumps(json_safe(payload), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    csv_path = write_csv(folder, name, rows)
    with atomic_write(json_path, "w") as file:
        file.write(text)
    return json_path, csv_path


def write_csv(folder: str | os.PathLike[str], name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``<name>.csv`` with one line a row; parameters and errors as `write_results`.

    Returns
    -------
    Path
    """
    path = Path(folder) / f"{_file_name(name)}.csv"
    table = [json_safe(dict(row)) for row in rows]
    with atomic_write(path, "w") as file:
        writer = csv.DictWriter(file, fieldnames=_columns(rows), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    return path


def _file_name(name: str) -> str:
    if not name or name in (".", "..") or Path(name).name != name or "\\" in name:
        raise DataError(f"the name of the results is {name!r}; expected a file name without folder or suffix")
    return name


def json_safe(value: Any) -> Any:
    """Return `value` in plain types that strict JSON can hold.

    Parameters
    ----------
    value : object
        Mappings, sequences, sets of these, numpy arrays and scalars, paths, numbers, text, None.

    Returns
    -------
    object
        dict, list, str, int, float, bool or None; nan and infinity are None.

    Raises
    ------
    DataError
        For any other type.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((json_safe(item) for item in value), key=str)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [json_safe(item) for item in value]
    raise DataError(
        f"a result holds a {type(value).__name__}, which JSON cannot; expected numbers, text or lists"
    )


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
    columns = [column for column in _columns(rows) if column not in _INTERVAL]
    columns = [
        column
        for column in columns
        if column == "value" or any(row.get(column) not in (None, "") for row in rows)
    ]
    headings = [f"value [{level:.0%} interval]" if c == "value" and intervals else c for c in columns]
    numeric = [all(_is_number(row.get(c)) for row in rows) for c in columns]
    body = [[_cell(row, column, digits) for column in columns] for row in rows]
    return _layout(headings, body, numeric)


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
    return _layout(["true \\ predicted", *classes], body, [False] + [True] * len(classes))


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
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


def _layout(headings: Sequence[str], body: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    widths = [max(3, *(len(line[i]) for line in [headings, *body])) for i in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(
        "-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)
    )
    return "\n".join([line(headings), rule + "|", *(line(cells) for cells in body)])
