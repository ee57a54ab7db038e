"""A table of one's own: paths of films and their labels, one class a film or several findings."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from lungcls.data.classmap import ClassMap
from lungcls.data.csvfile import header, read_csv, read_text
from lungcls.data.dataset import D, Dataset, Record
from lungcls.data.files import one_spelling
from lungcls.data.lists import ImageLists
from lungcls.data.parts import PART_NAMES
from lungcls.errors import DataError
from lungcls.labels import NO_FINDING

TABLE_SUFFIXES: Final = (".csv", ".tsv")
"""Of tables that :func:`lungcls.data.open_dataset` takes in place of a folder."""

# Column names without case, blanks, underscores and hyphens.
_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "file": ("file", "path", "image", "filename", "filepath", "imagepath", "imageindex", "filelocation"),
    "label": ("label", "labels", "class", "finding", "findings", "findinglabels", "diagnosis"),
    "mask": ("mask", "maskpath"),
    "source": ("source", "dataset", "site", "hospital"),
    "patient": ("patient", "patientid", "subject", "subjectid"),
    "part": ("part", "split"),
}
_KNOWN: Final = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1, "": -1}
_NOTHING: Final = ("", "no finding", "none", "normal")
_SEVERAL: Final = re.compile(r"\s*[|;]\s*")


class LabelTable(Dataset):
    """A CSV file with a column of paths and one of labels, or a column a finding.

    Parameters
    ----------
    root : path-like
        The CSV file; paths in it are relative to its folder, or absolute.

    Attributes
    ----------
    classes : tuple of str
        The labels, or the findings of a multi-label table, sorted; columns of findings in their order.
    multilabel : bool
        Whether a film may have several findings: where a label has ``|`` or ``;`` in it
        (``Effusion|Mass``), or each finding has a column of 1 (there), 0 (not there) and -1 or nothing (not
        known, left out of loss and figures).

    Raises
    ------
    DataError
        If the table cannot be read, a column or a file is missing, a row has no label, or there are not
        two classes (one finding).

    Notes
    -----
    Columns are known by name, whatever the case: ``file`` (or path, image, filename, Image Index), ``label``
    (or class, finding, Finding Labels), and where present ``patient``, ``source``, ``mask`` and ``part``.
    In a multi-label table ``No Finding``, ``none``, ``normal`` or nothing is a film without any finding.
    """

    layout = "table"
    looks = "a CSV file with the columns file and label, or file and a column of 0 and 1 for each finding"

    def __init__(self, root: str | Path) -> None:
        self.table = Path(root)
        super().__init__(self.table.parent)
        columns = _columns(self.table)
        rows = read_csv(self.table, columns.values())
        if not rows:
            raise DataError(f"{self.table}: the table has no rows")
        if "label" in columns:
            cells = [row[columns["label"]] for row in rows]
            self.multilabel = any(_SEVERAL.search(cell) for cell in cells)
            found = (
                [_listed(cell) for cell in cells] if self.multilabel else [((cell,), ()) for cell in cells]
            )
        else:
            self.multilabel = True
            names = _finding_columns(rows, columns, self.table)
            found = [_marked(row, names) for row in rows]
        spelled = one_spelling(name for present, unknown in found for name in (*present, *unknown))
        for row, (present, unknown) in zip(rows, found):
            self._add(row, columns, tuple(spelled[n] for n in present), tuple(spelled[n] for n in unknown))
        if self.missing_files:
            self.notes.append(f"{len(self.missing_files)} images that the table names are not there.")
        if not self.records:
            raise DataError(
                f"{self.table}: none of the {len(self.missing_files)} images is there, such as "
                f"{self.missing_files[0]}; paths are relative to the table's folder, or absolute"
            )
        counted = Counter(name for record in self.records for name in record.findings or (record.label,))
        counted.pop(NO_FINDING if self.multilabel else "", None)
        self.classes = tuple(sorted(counted)) if "label" in columns else tuple(spelled[n] for n in names)
        if len(self.classes) < (1 if self.multilabel else 2):
            raise DataError(
                f"{self.table}: found the classes {list(self.classes)}; expected two, or a finding"
            )

    @classmethod
    def open(cls: type[D], root: str | Path, classes: str | Path | ClassMap | None = None) -> D:
        """Open a table."""
        dataset = cls(root)
        if classes is not None:
            if dataset.multilabel:
                raise DataError(f"{root}: films have several findings each, which --classes cannot map")
            dataset.map_classes(classes)
        return dataset

    @property
    def title(self) -> str:
        """The table's name with a hash of its content."""
        content = self.table.read_bytes()
        return f"{self.table.stem} {hashlib.sha256(content).hexdigest()[:8]}"

    def _add(
        self, row: dict[str, str], columns: dict[str, str], present: tuple[str, ...], unknown: tuple[str, ...]
    ) -> None:
        cell = {name: row[column] for name, column in columns.items()}
        if not cell["file"]:
            raise DataError(f"{self.table}: a row has no file: {dict(row)}")
        if not self.multilabel and not present[0]:
            raise DataError(f"{self.table}: {cell['file']} has no label; give it one, or leave the row out")
        file = cell["file"].replace("\\", "/")
        if not (self.root / file).is_file():
            self.missing_files.append(file)
            return
        self.records.append(
            Record(
                file=file,
                label="|".join(sorted(present)) or NO_FINDING,
                mask=cell.get("mask", ""),
                source=cell.get("source", ""),
                patient=cell.get("patient", ""),
                part=PART_NAMES.get(cell.get("part", "").lower(), ""),
                findings=tuple(sorted(present)) if self.multilabel else (),
                unknown=unknown,
            )
        )


def open_table(path: Path, classes: str | Path | ClassMap | None = None) -> Dataset:
    """Open a table with column names, or a list without any (:class:`lungcls.data.lists.ImageLists`)."""
    if "file" not in _named(path):
        first = read_text(path).partition("\n")[0].strip()
        try:
            dataset: Dataset = ImageLists(path.parent, lists=[path])
        except DataError as error:
            raise DataError(
                f"{path}: expected a first line with the column names file and label (or file and one column "
                f"a finding); found {first[:80]!r}"
            ) from error
        if classes is not None:
            dataset.map_classes(classes)
        return dataset
    return LabelTable.open(path, classes)


def _named(path: Path) -> dict[str, str]:
    """What the columns of a table are called, by what they are."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    plain = {re.sub(r"[\s_-]+", "", name).lower(): name for name in reversed(header(path))}
    return {
        role: plain[next(name for name in names if name in plain)]
        for role, names in _COLUMNS.items()
        if any(name in plain for name in names)
    }


def _columns(path: Path) -> dict[str, str]:
    columns = _named(path)
    if "file" not in columns:
        raise DataError(f"{path}: no column file (or path, image, filename); the columns are {header(path)}")
    return columns


def _listed(cell: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(dict.fromkeys(n for n in _SEVERAL.split(cell.strip()) if n.lower() not in _NOTHING)), ()


def _finding_columns(rows: Sequence[dict[str, str]], columns: dict[str, str], path: Path) -> list[str]:
    others = [name for name in rows[0] if name not in columns.values()]
    names = [
        name
        for name in others
        if all(row[name] in _KNOWN for row in rows) and name.strip().lower() not in _NOTHING
    ]
    if not names:
        raise DataError(
            f"{path}: no column label (or class, finding), and no column of 0 and 1; the columns are "
            f"{list(rows[0])}"
        )
    return names


def _marked(row: dict[str, Any], names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    marks = {name: _KNOWN[row[name]] for name in names}
    present = tuple(name for name, mark in marks.items() if mark == 1)
    return present, tuple(name for name, mark in marks.items() if mark == -1)
