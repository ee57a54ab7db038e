"""The files of a dataset: those of one folder in order, masks to images, and names in lists to files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from lungcls.data.parts import PART_NAMES
from lungcls.errors import DataError
from lungcls.imagefiles import SIDE_FOLDERS
from lungcls.images import SUFFIXES

MASK_SUFFIXES: Final = (*SUFFIXES, ".gif")
"""Masks are published as GIF, too (JSRT); films are not read from it."""

_AFFIX: Final = re.compile(
    r"^(?:(?:lung)?mask|seg)[ _-]+|[ _-]+(?:lungs?[ _-]?)?(?:mask|seg|label)s?$", re.IGNORECASE
)


def walk(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, sorted; linked folders are entered, hidden things are not.

    Hidden are names that start with a dot, such as the ``._`` files of macOS, and what systems keep beside
    files (:data:`lungcls.imagefiles.SIDE_FOLDERS`).
    """
    # Not rglob, which does not enter linked folders.
    for place, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        yield from (Path(place, name) for name in sorted(names) if not is_hidden(name))


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the dataset's."""
    return name.startswith(".") or name in SIDE_FOLDERS


def list_images(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """Return the images of one folder, ``name-2`` before ``name-10``; none where there is no such folder."""
    if not folder.is_dir():
        return []
    paths = (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not is_hidden(p.name))
    return sorted(paths, key=lambda path: (*_natural(path.stem), path.name))


def pair_masks(images: Iterable[Path], masks: Iterable[Path]) -> tuple[dict[Path, Path], list[Path]]:
    """Find the mask of each image: that of its name, or of its name with ``mask`` or the like added.

    Returns
    -------
    masks : dict of Path to Path
        By image.
    orphans : list of Path
        Masks that are no image's.

    Raises
    ------
    DataError
        Two images or two masks have one name, so that nobody can tell which belongs to which.
    """
    by_stem: dict[str, list[Path]] = {}
    by_core: dict[str, list[Path]] = {}
    for mask in masks:
        by_stem.setdefault(mask.stem, []).append(mask)
        by_core.setdefault(_AFFIX.sub("", mask.stem), []).append(mask)
    mask_of: dict[Path, Path] = {}
    owner: dict[Path, Path] = {}
    for image in images:
        fitting = by_stem.get(image.stem) or by_core.get(image.stem) or []
        if len(fitting) > 1:
            names = " and ".join(mask.name for mask in fitting[:3])
            raise DataError(f"{image}: {names} could both be its mask; keep one of them")
        for mask in fitting:
            if mask in owner:
                raise DataError(
                    f"{image} and {owner[mask].name} have one name, and {mask.name} could be the mask of "
                    "either; rename one of the images and its mask"
                )
            mask_of[image], owner[mask] = mask, image
    return mask_of, [mask for group in by_stem.values() for mask in group if mask not in owner]


def _natural(stem: str) -> tuple[str, int]:
    head, _, tail = stem.rpartition("-")
    return (head, int(tail)) if tail.isdigit() else (stem, 0)


class FileIndex:
    """The images below a folder, found by the names that lists and tables give them.

    Parameters
    ----------
    root : Path
    suffixes : tuple of str
    """

    def __init__(self, root: Path, suffixes: tuple[str, ...] = MASK_SUFFIXES) -> None:
        self.root = root
        self.files = [
            path.relative_to(root).as_posix() for path in walk(root) if path.suffix.lower() in suffixes
        ]
        self._by_name: dict[str, list[str]] = {}
        for file in self.files:
            self._by_name.setdefault(_folded(file.rpartition("/")[2]), []).append(file)

    def find(self, name: str, part: str = "") -> str | None:
        """Return the file below the root that a name means, or None where there is none.

        Parameters
        ----------
        name : str
            A name, or a path below any folder; also with backslashes, ``./``, in other case, or absolute (of
            another machine, too: then its end must fit).
        part : str
            Of a split: where several files fit, that in the part's folder is meant.

        Raises
        ------
        DataError
            If several files fit equally well.
        """
        steps = [step for step in re.split(r"[\\/]+", name.strip()) if step not in ("", ".")]
        absolute = bool(re.match(r"[\\/]|[A-Za-z]:[\\/]", name.strip()))
        if not steps or ".." in steps:
            return None
        here = self._by_name.get(_folded(steps[-1]), [])
        for first in range(len(steps) if absolute else 1):
            wanted = "/".join(steps[first:])
            exact = [file for file in here if f"/{file}".endswith(f"/{wanted}")]
            fitting = exact or [f for f in here if f"/{_folded(f)}".endswith(f"/{_folded(wanted)}")]
            if fitting:
                return self._best(fitting, wanted, part)
        return None

    def _best(self, fitting: list[str], wanted: str, part: str) -> str:
        in_part = [file for file in fitting if _in_part(file, part)] or fitting
        if wanted in in_part:
            return wanted
        shallow = min(file.count("/") for file in in_part)
        nearest = [file for file in in_part if file.count("/") == shallow]
        if len(nearest) > 1:
            raise DataError(
                f"{self.root}: {wanted} could be {' or '.join(nearest[:3])}; write the path below the folder"
            )
        return nearest[0]


def _folded(name: str) -> str:
    """A name whatever its case, and whether its accents are letters of their own (macOS) or not."""
    return unicodedata.normalize("NFC", name).lower()


def _in_part(file: str, part: str) -> bool:
    folders = (PART_NAMES.get(step.lower(), "") for step in PurePosixPath(file).parts[:-1])
    return bool(part) and part in folders


def one_spelling(labels: Iterable[str]) -> dict[str, str]:
    """Return for each label the one spelling of all that differ from it in case, blanks or underscores only.

    The most frequent one, and of equally frequent ones the first.
    """
    counts: dict[str, dict[str, int]] = {}
    for label in labels:
        spellings = counts.setdefault(re.sub(r"[\s_-]+", " ", label.strip()).lower(), {})
        spellings[label] = spellings.get(label, 0) + 1
    chosen = {key: max(spellings, key=spellings.__getitem__) for key, spellings in counts.items()}
    return {label: chosen[key].strip() for key, spellings in counts.items() for label in spellings}
