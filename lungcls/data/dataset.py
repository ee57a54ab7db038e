"""What every dataset has: a root folder and one record an image."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image as PILImage

from lungcls.errors import DataError
from lungcls.images import SUFFIXES
from lungcls.regions import Mask

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a dataset; text fields that are not known are empty.

    Attributes
    ----------
    file : str
        Path of the image below the dataset's root, with forward slashes.
    label : str
        One of the dataset's ``classes``.
    mask : str
        Path of the lung mask below the root.
    source, patient, processing : str
        Where the image came from, whose it is, how it was prepared.
    group : str
        Near duplicates and images of one patient share a group, which must never be split.
    part : str
        ``train``, ``validation`` or ``test`` where the dataset comes with a split of its own.
    """

    file: str
    label: str
    mask: str = ""
    source: str = ""
    patient: str = ""
    group: str = ""
    processing: str = ""
    part: str = ""


class Dataset:
    """A folder of chest X-rays.

    Parameters
    ----------
    root : path-like

    Attributes
    ----------
    layout : str
        The name under which :func:`lungcls.data.open_dataset` knows this kind of folder.
    root : Path
    records : list of Record
        The images that are there and belong to a class.
    classes : tuple of str
        The classes in the order of their indices, those without an image included; empty where images have
        none.
    missing_files : list of str
        Files that the dataset's own lists name and the folder lacks; they have no record.
    dropped : dict of str to int
        Images that were left out on purpose, counted by reason.
    notes : list of str
        What to know before trusting a result on this dataset, in sentences.
    grouped : bool
        Whether the records' groups already hold the near duplicates, so that nobody has to look for them.
    title : str
        What the cards of weights trained on it call it: one name for all copies of a published collection,
        else that of the folder.
    """

    layout: ClassVar[str] = ""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.records: list[Record] = []
        self.classes: tuple[str, ...] = ()
        self.missing_files: list[str] = []
        self.dropped: dict[str, int] = {}
        self.notes: list[str] = []
        self.grouped = False
        self.title = self.root.name

    def summary(self) -> dict[str, Any]:
        """Return counts, from names and lists alone: images, masks, classes, sources, and what is missing.

        Returns
        -------
        dict
            ``root``, ``layout``, ``images``, ``with_mask``, ``classes`` and ``classes_with_mask`` (by class),
            ``sources`` (by class and source), ``patients``, ``groups`` (known ones), ``parts`` (of the
            dataset's own split, by class), ``missing_files``, ``dropped`` (by reason) and ``notes``.
        """
        records = self.records
        parts = Counter(f"{r.part}/{r.label}" if r.label else r.part for r in records if r.part)
        return {
            "root": str(self.root),
            "layout": self.layout,
            "images": len(records),
            "with_mask": sum(bool(r.mask) for r in records),
            "classes": {name: sum(r.label == name for r in records) for name in self.classes},
            "classes_with_mask": {
                name: sum(r.label == name and bool(r.mask) for r in records) for name in self.classes
            },
            "sources": dict(sorted(Counter(f"{r.label}/{r.source or '?'}" for r in records).items())),
            "patients": len({r.patient for r in records if r.patient}),
            "groups": len({r.group for r in records if r.group}),
            "parts": dict(sorted(parts.items())),
            "missing_files": len(self.missing_files),
            "dropped": dict(self.dropped),
            "notes": list(self.notes),
        }

    def only(self, records: Iterable[Record]) -> Self:
        """Return the dataset of some of its records, or of changed ones."""
        part = copy.copy(self)
        part.records = list(records)
        return part

    def path(self, record: Record) -> Path:
        """Return the full path of a record's image."""
        return self.root / record.file

    def mask_path(self, record: Record) -> Path:
        """Return the full path of a record's lung mask; DataError if it has none."""
        if not record.mask:
            raise DataError(f"{record.file} has no lung mask in {self.root}")
        return self.root / record.mask

    def read_mask(self, record: Record) -> Mask:
        """Return a record's lung mask as bool [h, w], at the mask file's own size."""
        return read_mask(self.mask_path(record))


def read_mask(path: str | Path) -> Mask:
    """Read a lung mask.

    Parameters
    ----------
    path : path-like
        An image of any mode (the database's own masks are RGB) whose lungs are bright.

    Returns
    -------
    bool array [h, w]
        True where the value is above half of the largest one, so that masks of 0 and 1 count too.

    Raises
    ------
    DataError
        If the file cannot be read as an image.
    """
    try:
        with PILImage.open(path) as image:
            values = np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: not readable as a lung mask ({error}); expected an image file") from error
    return np.asarray(values > values.max() // 2)


def images_by_stem(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by name without suffix, ``name-2`` before ``name-10``."""
    if not folder.is_dir():
        return {}
    paths = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return {path.stem: path for path in sorted(paths, key=lambda path: _natural(path.stem))}


def _natural(stem: str) -> tuple[str, int]:
    head, _, tail = stem.rpartition("-")
    return (head, int(tail)) if tail.isdigit() else (stem, 0)
