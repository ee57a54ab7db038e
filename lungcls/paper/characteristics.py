"""Age, sex and view of the films, where a table beside them or their DICOM header tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lungcls.data.csvfile import header, read_csv
from lungcls.data.dataset import Dataset, Record

_TABLES: Final = ("metadata.csv", "manifest.csv")
_NAMES: Final = ("file", "filename", "path")
_SEXES: Final = {"m": "male", "male": "male", "f": "female", "female": "female"}


@dataclass(frozen=True, slots=True)
class Characteristics:
    """What is known of whom a film shows, and how.

    Attributes
    ----------
    age : float or None
        In years.
    sex : str
        ``male``, ``female``, another word of the table, or empty.
    view : str
        Such as ``PA``; empty where it is not known.
    """

    age: float | None = None
    sex: str = ""
    view: str = ""


def characteristics(dataset: Dataset) -> tuple[dict[str, Characteristics], str]:
    """Read what a dataset tells of its patients.

    Parameters
    ----------
    dataset : Dataset
        A table ``metadata.csv`` or ``manifest.csv`` in its folder with a column of files (``file``,
        ``filename`` or ``path``) and any of ``age`` (years), ``sex`` and ``view`` is read; else the headers
        of its DICOM files (PatientAge, PatientSex, ViewPosition).

    Returns
    -------
    found : dict of str to Characteristics
        By the records' ``file``; films of which nothing is known are missing.
    place : str
        Name of the table, ``DICOM headers``, or empty.
    """
    for name in _TABLES:
        of_headers = _of_table(dataset.root / name, dataset.records)
        if of_headers:
            return of_headers, name
    of_headers = _of_headers(dataset)
    return of_headers, "DICOM headers" if of_headers else ""


def _of_table(path: Path, records: Iterable[Record]) -> dict[str, Characteristics]:
    names = header(path)
    file = next((name for name in _NAMES if name in names), None)
    if file is None or not {"age", "sex", "view"} & set(names):
        return {}
    rows: dict[str, Mapping[str, str]] = {row[file]: row for row in read_csv(path, (file,))}
    by_film = {}
    for record in records:
        row = rows.get(record.file) or rows.get(Path(record.file).name)
        if row is not None:
            one = Characteristics(
                _years(row.get("age", "")), _sex(row.get("sex", "")), row.get("view", "").strip()
            )
            if one != Characteristics():
                by_film[record.file] = one
    return by_film


def _of_headers(dataset: Dataset) -> dict[str, Characteristics]:
    by_film = {}
    for record in dataset.records:
        path = dataset.path(record)
        if path.suffix.lower() not in (".dcm", ".dicom"):
            continue
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError

        try:
            film = dcmread(
                path, stop_before_pixels=True, specific_tags=["PatientAge", "PatientSex", "ViewPosition"]
            )
        except (OSError, InvalidDicomError):
            continue
        one = Characteristics(
            _years(str(film.get("PatientAge", ""))),
            _sex(str(film.get("PatientSex", ""))),
            str(film.get("ViewPosition", "")),
        )
        if one != Characteristics():
            by_film[record.file] = one
    return by_film


def _sex(text: str) -> str:
    return _SEXES.get(text.strip().lower(), text.strip())


def _years(text: str) -> float | None:
    """Read "65", "65.0" or DICOM's "065Y", "018M"."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([YMWD]?)\s*", text, re.IGNORECASE)
    if match is None:
        return None
    per_year = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}[match[2].upper()]
    return float(match[1]) / per_year
