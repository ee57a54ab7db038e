"""Images named in text files, as COVIDx and COVID-XRay-5K keep them."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lungcls.data.csvfile import cells_of, read_text, separator_of
from lungcls.data.dataset import Dataset, Record
from lungcls.data.files import FileIndex, is_hidden, one_spelling
from lungcls.data.parts import PART_NAMES
from lungcls.errors import DataError
from lungcls.images import SUFFIXES

logger = logging.getLogger(__name__)

LIST_SUFFIXES: Final = (".txt", ".csv", ".tsv", ".lst")


@dataclass(frozen=True)
class Line:
    """One line of a list; what the list does not have is empty.

    Attributes
    ----------
    names : tuple of str
        What the image may be called: one name, or where blanks separate the cells also those with the words
        before it, which may belong to it.
    label, patient, source : str
        `patient` is that of the first name; the others have none.
    """

    names: tuple[str, ...]
    label: str
    patient: str = ""
    source: str = ""


class ImageLists(Dataset):
    """A folder with text files that name images and their classes.

    Parameters
    ----------
    root : path-like
        The folder with the lists. Images are looked for in a folder named after the list's part (``train``,
        ``test``), in the folder itself and in all folders below it.
    lists : sequence of path-like, optional
        The lists to read. By default all of the folder that are some.

    Attributes
    ----------
    lists : list of Path

    Raises
    ------
    DataError
        If there is no list, lists contradict each other, they name CT slices, or none of their images is
        there.

    Notes
    -----
    A line holds ``name label`` (COVID-XRay-5K style), ``patient name label`` or ``patient name label source``
    (COVIDx), separated by tabs, semicolons, commas or blanks. The name is the column that ends like an image
    file. A list whose own name contains train, val or test gives its images that part. Files are UTF-8 or
    UTF-16; names may have backslashes, ``./``, other case or another machine's folders in front. Labels that
    differ in case or blanks only are one class.
    """

    layout = "lists"
    looks = "text files with lines 'name label' or 'patient name label source', and the images"

    @classmethod
    def recognise(cls, folder: Path) -> Path | None:
        """Return the folder if it holds text files that name images and classes."""
        return folder if find_lists(folder) else None

    def __init__(self, root: str | Path, *, lists: Sequence[str | Path] | None = None) -> None:
        super().__init__(root)
        found = [Path(path) for path in lists] if lists is not None else find_lists(self.root)
        if not found:
            raise DataError(
                f"{self.root} holds no list of images; expected text files such as train.txt and test.txt "
                "with "
                "lines 'name label' or 'patient name label source'"
            )
        self.lists = found
        index = FileIndex(self.root, SUFFIXES)
        seen: dict[str, tuple[str, str, Path]] = {}
        records: dict[str, Record] = {}
        entries = [
            (path, part_of_list(path), *_located(index, line, part_of_list(path), path))
            for path in found
            for line in read_list(path)
        ]
        spelled = one_spelling(line.label for _, _, _, line in entries)
        for path, part, file, line in entries:
            if file is None:
                self.missing_files.append(line.names[0])
                continue
            label = spelled[line.label]
            before = seen.setdefault(file, (label, part, path))
            if before[:2] != (label, part):
                raise DataError(
                    f"{path}: {line.names[0]} is {label!r} in the part {part or 'none'!r}; "
                    f"{before[2].name} says "
                    f"{before[0]!r} and {before[1] or 'none'!r}. Give the lists that belong together "
                    "(lists=)"
                )
            records[file] = Record(
                file=file, label=label, source=line.source, patient=line.patient, part=part
            )
        joined = sorted(name for name in spelled if spelled[name] != name)
        if joined:
            self.notes.append(f"Labels that differ in case or blanks are one class: {', '.join(joined)}.")
        if len(found) > 1:
            self.notes.append(f"Read from the lists {', '.join(path.name for path in found)}.")
        self.records = list(records.values())
        if not self.records:
            raise DataError(
                f"{self.root}: none of the {len(self.missing_files)} images that "
                f"{', '.join(p.name for p in found)} "
                f"name is there, such as {self.missing_files[0]}; expected them in train/ and test/ or "
                "beside the lists"
            )
        self.classes = tuple(sorted({record.label for record in self.records}))
        if self.missing_files:
            self.notes.append(f"{len(self.missing_files)} images that the lists name are not in the folder.")


def find_lists(root: Path) -> list[Path]:
    """Return the text files of a folder that name images and classes, sorted by name."""
    paths = sorted(
        path
        for path in root.iterdir()
        if path.suffix.lower() in LIST_SUFFIXES and not is_hidden(path.name) and path.is_file()
    )
    return [path for path in paths if _looks_like_list(path)]


def part_of_list(path: Path) -> str:
    """Return the part of a split that a list's name tells, or ""."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    return next((PART_NAMES[word] for word in words if word in PART_NAMES), "")


def read_list(path: Path) -> list[Line]:
    """Read a list of images.

    Raises
    ------
    DataError
        If the file cannot be read, a line names no image and class, or it lists CT slices.
    """
    lines: list[Line] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        separator = separator_of(line)
        cells = cells_of(line, separator) if separator else line.split()
        at = _name_at(cells)
        if at is None and not lines and not any(end in line.lower() for end in SUFFIXES):
            continue  # a header
        if at is None or not any(cells[at + 1 :]):
            raise DataError(
                f"{path}, line {number}: {line.strip()[:80]!r} does not name an image and its class; "
                "expected "
                "'name label', 'patient name label' or 'patient name label source'"
            )
        if _has_box(cells[at + 2 :]):
            raise DataError(ct_refusal(f"{path.name} (each line has the box of a CT slice)", path.parent))
        lines.append(_line(cells, at, blanks=separator is None))
    if not lines:
        raise DataError(f"{path}: no line names an image and its class")
    return lines


def _line(cells: list[str], at: int, *, blanks: bool) -> Line:
    after = cells[at + 1 :]
    if not blanks:
        return Line((cells[at],), after[0], cells[at - 1] if at else "", after[1] if len(after) > 1 else "")
    # Blanks may also be part of a name; whose words they are, only the files tell.
    names = tuple(" ".join(cells[first : at + 1]) for first in range(at, -1, -1))
    if at == 0:
        return Line(names, " ".join(after))  # without a patient there is no source: a label of two words
    return Line(names, after[0], cells[at - 1] if at == 1 else "", " ".join(after[1:]))


def ct_refusal(what: str, root: Path) -> str:
    """Return the message for a folder with computed tomography in it."""
    return (
        f"{root}: {what} is computed tomography. lungcls reads radiographs (chest X-rays), not CT volumes "
        "or slices: "
        "its models know nothing about them. Use a dataset of radiographs, such as COVIDx CXR in place of "
        "COVIDx CT"
    )


def _name_at(cells: list[str]) -> int | None:
    # From the right: a patient may be called after a file.
    places = (at for at in range(len(cells) - 1, -1, -1) if _is_name(cells[at]))
    return next(places, None)


def _is_name(cell: str) -> bool:
    return cell.lower().endswith(SUFFIXES)


def _has_box(cells: list[str]) -> bool:
    return len(cells) >= 4 and all(cell.lstrip("-").isdigit() for cell in cells[:4])


def _looks_like_list(path: Path) -> bool:
    try:
        head = read_text(path, strict=False)[:10_000].split("\n")[:5]
    except DataError:
        return False
    lines = []
    for line in head:
        if line.strip() and not line.startswith("#"):
            separator = separator_of(line)
            lines.append(cells_of(line, separator) if separator else line.split())
    # The first line may be a header; tables with many columns are metadata, not lists.
    body = lines[1:] or lines
    usable = [cells for cells in body if (at := _name_at(cells)) is not None and at + 1 < len(cells)]
    blanks = all(separator_of(line) is None for line in head)
    return (
        bool(usable)
        and len(usable) == len(body)
        and all(len(cells) <= (8 if blanks else 4) or _has_box(cells[-4:]) for cells in usable)
    )


def _located(index: FileIndex, line: Line, part: str, path: Path) -> tuple[str | None, Line]:
    """Return the file that a line means, and the line as it reads with the name of that file."""
    hits = {name: file for name in line.names if (file := index.find(name, part)) is not None}
    if len(set(hits.values())) > 1:
        raise DataError(
            f"{path}: {line.names[-1]!r} could mean {' or '.join(sorted(set(hits.values())))}; separate the "
            "cells by tabs or commas"
        )
    if not hits:
        return None, line
    name = next(iter(hits))
    if name == line.names[0]:
        return hits[name], line
    # The words before belong to the name: there is no patient, and so no source, but a label of two words.
    return hits[name], Line((name,), f"{line.label} {line.source}".strip())
