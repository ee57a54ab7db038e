"""Reading the tables that datasets come with."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from lungcls.errors import DataError


def read_csv(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a CSV file whose cells are text; spaces around names and values are dropped.

    Raises
    ------
    DataError
        If the file cannot be read or lacks one of `columns`.
    """
    try:
        # Hand-made tables mix encodings; what is not UTF-8 stands in names of places and notes.
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file)
            header = [str(name).strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            missing = sorted(set(columns) - set(header))
            if missing:
                raise DataError(f"{path}: no column {', '.join(missing)}; the columns are {header}")
            # Not every line need have all columns; csv then gives None.
            return [{key: (row.get(key) or "").strip() for key in header} for row in reader]
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: not readable as a CSV file ({error})") from error


def header(path: Path) -> list[str]:
    """Return the column names of a CSV file; an empty list where there are none to read."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, csv.Error):
        return []
