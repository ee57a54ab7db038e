"""Images in a folder a class, with or without a split, as most teaching projects keep them."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lungcls.data.dataset import Dataset, Record
from lungcls.data.files import MASK_SUFFIXES, is_hidden, one_spelling, pair_masks, walk
from lungcls.data.parts import PART_NAMES
from lungcls.errors import DataError
from lungcls.images import SUFFIXES

logger = logging.getLogger(__name__)

_IMAGES: Final = ("images", "image", "imgs")
_MASKS: Final = ("masks", "mask", "lung masks", "lung_masks")
_OTHER_MASKS: Final = ("infection masks", "infection_masks")
# What people call folders that are no classes: kinds of files, steps of processing, what programs made.
_NO_CLASS: Final = re.compile(
    r".*mask.*|.*segment.*|annotations?|labels?|raw|original|orig|source|processed|resized|cropped|enhanced|"
    r"augmented|png|jpe?g|dicom|dcm|tiff?|cxr.*|x-?rays?|films?|scans?|data|dataset|overlays?|figures|cams|"
    r"previews?|thumb(nail)?s?|left|right|\d{3,}|(part|batch|set|patient|fold)[ _-]?\d+",
    re.IGNORECASE,
)
_MANY: Final = 30  # folders from which on they are rather patients than classes


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
    looks = "a folder a class, such as covid/ and non/, or train/covid, train/non, test/covid, test/non"

    @classmethod
    def recognise(cls, folder: Path) -> Path | None:
        """Return the folder if its folders can hardly be anything but classes."""
        names = {name for _, name, _ in class_folders(folder)}
        usual = [name for name in names if not _NO_CLASS.fullmatch(name)]
        return folder if 2 <= len(usual) == len(names) <= _MANY else None

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        found = class_folders(self.root)
        spelled = one_spelling(name for _, name, _ in found)
        names = sorted(set(spelled.values()))
        if len(names) < 2:
            raise DataError(
                f"{self.root}: found {len(names)} folders of classes with images{_listed(names)}; expected "
                "at least "
                "two, such as covid/ and non/, or train/covid, train/non, test/covid and test/non"
            )
        self.classes = tuple(names)
        for part, name, folder in found:
            self._add(part, spelled[name], folder)
        joined = sorted(name for name in spelled if spelled[name] != name)
        if joined:
            self.notes.append(f"Folders that differ in case or blanks are one class: {', '.join(joined)}.")
        logger.info("%s: the folders are taken for classes: %s", self.root, ", ".join(names))
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
        images, masks = {}, []
        for path in walk(folder):
            between = path.relative_to(folder).parent
            lower = [step.lower() for step in between.parts]
            if any(step in _MASKS for step in lower):
                masks += [path] if path.suffix.lower() in MASK_SUFFIXES else []
            elif path.suffix.lower() not in SUFFIXES:
                continue
            elif any(step in _OTHER_MASKS for step in lower):
                self.dropped["mask of something else"] = self.dropped.get("mask of something else", 0) + 1
            else:
                images[path] = "/".join(step for step in between.parts if step.lower() not in _IMAGES)
        mask_of, orphans = pair_masks(images, masks)
        if orphans:
            self.dropped["mask without an image"] = self.dropped.get("mask without an image", 0) + len(
                orphans
            )
        for path, source in images.items():
            mask = mask_of.get(path)
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
    folders = []
    for folder in _folders(root):
        part = PART_NAMES.get(folder.name.lower())
        inner = _folders(folder) if part else [folder]
        folders += [(part or "", one.name, one) for one in inner if _is_class(one)]
    return folders


def _is_class(folder: Path) -> bool:
    reserved = folder.name.lower() in (*_IMAGES, *_MASKS, *_OTHER_MASKS)
    return not reserved and any(True for _ in _images(folder))


def _folders(root: Path) -> list[Path]:
    return sorted(
        path for path in root.iterdir() if path.is_dir() and path.name[0] != "_" and not is_hidden(path.name)
    )


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in walk(folder) if path.suffix.lower() in SUFFIXES)


def _listed(names: list[str]) -> str:
    return f" ({', '.join(names)})" if names else ""
