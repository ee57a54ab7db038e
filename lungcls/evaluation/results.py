"""Results as files: JSON and CSV."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.errors import DataError
from lungcls.files import write_rows, write_text
from lungcls.render.tables import columns


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
    write_text(json_path, text)
    return json_path, csv_path


def write_csv(folder: str | os.PathLike[str], name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``<name>.csv`` with one line a row; parameters and errors as `write_results`.

    Returns
    -------
    Path
    """
    path = Path(folder) / f"{_file_name(name)}.csv"
    table = [json_safe(dict(row)) for row in rows]
    write_rows(path, columns(rows), table)
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
