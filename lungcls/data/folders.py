"""Images in a folder a class, with or without a split, as most teaching projects keep them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lungcls.data.dataset import Dataset, Record
from lungcls.data.parts import PART_NAMES
from lungcls.errors import DataError
from lungcls.images import SUFFIXES

_IMAGES: Final = ("images", "image", "imgs")
_MASKS: Final = ("masks", "mask", "lung masks", "lung_masks")
_OTHER_MASKS: Final = ("infection masks", "infection_masks")


class ClassFolders(Dataset):
    """A folder with ``<class>/`` or ``<part>/<class>/`` below it, whatever the classes are called.

    Parameters
    ----------
    root : path-like

    Attributes
    ----------
    classes : tuple of str
        The names of the folders, sorted.

    Raises
    ------
    DataError
        If there are fewer than two folders with images.

    Notes
    -----
    Parts are folders called train, val, validation, test and the like. Images anywhere below the folder of a
    class belong to it; the name of a folder between them is the record's ``source``. In a class that holds
    ``images`` and ``masks`` (or ``lung masks``) the masks of the same names are taken as lung masks.
    """

    layout = "folders"

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        found = class_folders(self.root)
        names = sorted({name for _, name, _ in found})
        if len(names) < 2:
            raise DataError(
                f"{self.root}: found {len(names)} folders of classes with images{_listed(names)}; expected "
                "at least "
                "two, such as covid/ and non/, or train/covid, train/non, test/covid and test/non"
            )
        self.classes = tuple(names)
        for part, name, folder in found:
            self._add(part, name, folder)
        parts = Counter(record.part for record in self.records)
        if "" in parts and len(parts) > 1:
            raise DataError(
                f"{self.root}: {parts['']} images lie in folders of classes and "
                f"{parts.total() - parts['']} in folders "
                "of a split (train, test and the like); expected one or the other"
            )
        for part in sorted(parts.keys() - {""}):
            absent = set(names) - {record.label for record in self.records if record.part == part}
            if absent:
                self.notes.append(f"The part {part} holds no image of {', '.join(sorted(absent))}.")

    def _add(self, part: str, name: str, folder: Path) -> None:
        images, masks = [], {}
        for path in _images(folder):
            between = path.relative_to(folder).parent
            lower = [step.lower() for step in between.parts]
            if any(step in _MASKS for step in lower):
                masks[path.stem] = path
            elif any(step in _OTHER_MASKS for step in lower):
                self.dropped["mask of something else"] = self.dropped.get("mask of something else", 0) + 1
            else:
                source = "/".join(step for step in between.parts if step.lower() not in _IMAGES)
                images.append((path, source))
        for path, source in images:
            mask = masks.get(path.stem)
            self.records.append(
                Record(
                    file=path.relative_to(self.root).as_posix(),
                    label=name,
                    mask=mask.relative_to(self.root).as_posix() if mask else "",
                    source=source,
                    part=part,
                )
            )


def class_folders(root: Path) -> list[tuple[str, str, Path]]:
    """Return part (or ""), class and folder of all folders of classes below `root`, sorted by path."""
    found = []
    for folder in _folders(root):
        part = PART_NAMES.get(folder.name.lower())
        inner = _folders(folder) if part else [folder]
        found += [(part or "", one.name, one) for one in inner if _is_class(one)]
    return found


def _is_class(folder: Path) -> bool:
    reserved = folder.name.lower() in (*_IMAGES, *_MASKS, *_OTHER_MASKS)
    return not reserved and any(True for _ in _images(folder))


def _folders(root: Path) -> list[Path]:
    names = (path for path in root.iterdir() if path.is_dir() and path.name[0] not in "._")
    return sorted(names)


def _images(folder: Path) -> Iterator[Path]:
    # Not rglob, which does not enter linked folders.
    for place, subfolders, names in os.walk(folder, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(place, name)


def _listed(names: list[str]) -> str:
    return f" ({', '.join(names)})" if names else ""
