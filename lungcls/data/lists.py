"""Images named in text files, as COVIDx and COVID-XRay-5K keep them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lungcls.data.dataset import Dataset, Record
from lungcls.data.parts import PART_NAMES
from lungcls.errors import DataError
from lungcls.images import SUFFIXES

logger = logging.getLogger(__name__)

LIST_SUFFIXES: Final = (".txt", ".csv", ".tsv", ".lst")


@dataclass(frozen=True)
class Line:
    """One line of a list; what the list does not have is empty."""

    name: str
    label: str
    patient: str
    source: str


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
    (COVIDx), separated by spaces, tabs or commas. The name is the column that ends like an image file. A list
    whose own name contains train, val or test gives its images that part.
    """

    layout = "lists"

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
        index = _index(self.root)
        seen: dict[str, tuple[str, str, Path]] = {}
        records: dict[str, Record] = {}
        for path in found:
            part = part_of_list(path)
            for line in read_list(path):
                file = _locate(index, line.name, part)
                if file is None:
                    self.missing_files.append(line.name)
                    continue
                before = seen.setdefault(file, (line.label, part, path))
                if before[:2] != (line.label, part):
                    raise DataError(
                        f"{path}: {line.name} is {line.label!r} in the part {part or 'none'!r}; "
                        f"{before[2].name} says "
                        f"{before[0]!r} and {before[1] or 'none'!r}. Give the lists that belong together "
                        "(lists=)"
                    )
                records[file] = Record(
                    file=file, label=line.label, source=line.source, patient=line.patient, part=part
                )
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
    paths = sorted(path for path in root.iterdir() if path.suffix.lower() in LIST_SUFFIXES and path.is_file())
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
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list cannot be read ({error})") from error
    lines: list[Line] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = _cells(line)
        at = _name_at(cells)
        if at is None and not lines:
            continue  # a header
        if at is None or at + 1 >= len(cells):
            raise DataError(
                f"{path}, line {number}: {line.strip()[:80]!r} does not name an image and its class; "
                "expected "
                "'name label', 'patient name label' or 'patient name label source'"
            )
        if _has_box(cells[at + 2 :]):
            raise DataError(ct_refusal(f"{path.name} (each line has the box of a CT slice)", path.parent))
        lines.append(
            Line(
                name=cells[at],
                label=cells[at + 1],
                patient=cells[at - 1] if at else "",
                source=cells[at + 2] if at + 2 < len(cells) else "",
            )
        )
    if not lines:
        raise DataError(f"{path}: no line names an image and its class")
    return lines


def ct_refusal(what: str, root: Path) -> str:
    """Return the message for a folder with computed tomography in it."""
    return (
        f"{root}: {what} is computed tomography. lungcls reads radiographs (chest X-rays), not CT volumes "
        "or slices: "
        "its models know nothing about them. Use a dataset of radiographs, such as COVIDx CXR in place of "
        "COVIDx CT"
    )


def _cells(line: str) -> list[str]:
    for separator in ("\t", ",", ";"):
        if separator in line:
            return [cell.strip().strip('"') for cell in line.split(separator)]
    return line.split()


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
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            head = [file.readline(2000) for _ in range(5)]
    except OSError:
        return False
    lines = [_cells(line) for line in head if line.strip() and not line.startswith("#")]
    # The first line may be a header; tables with many columns are metadata, not lists.
    usable = [
        cells for cells in lines[1:] or lines if (at := _name_at(cells)) is not None and at + 1 < len(cells)
    ]
    return (
        bool(usable)
        and len(usable) >= len(lines[1:] or lines)
        and all(len(cells) <= 4 or _has_box(cells[-4:]) for cells in usable)
    )


def _index(root: Path) -> dict[str, list[str]]:
    """Return the images below a folder by file name."""
    found: dict[str, list[str]] = {}
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES):
                found.setdefault(name, []).append(Path(folder, name).relative_to(root).as_posix())
    return found


def _locate(index: dict[str, list[str]], name: str, part: str) -> str | None:
    """Return where an image of a list lies: as the list says, or in the folder of its part."""
    wanted = Path(name).as_posix().removeprefix("./")
    places = [file for file in index.get(Path(wanted).name, []) if f"/{file}".endswith(f"/{wanted}")]
    places.sort(key=lambda file: (not _in_part(file, part), file != wanted, file.count("/"), file))
    return places[0] if places else None


def _in_part(file: str, part: str) -> bool:
    folders = (PART_NAMES.get(step.lower(), "") for step in Path(file).parts[:-1])
    return bool(part) and part in folders
