"""What every dataset has: a root folder and one record an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from lungcls.errors import DataError
from lungcls.images import SUFFIXES
from lungcls.regions import Mask


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a dataset; text fields that are not known are empty.

    Attributes
    ----------
    file : str
        Path of the image below the dataset's root, with forward slashes.
    label : str
        One of :data:`lungcls.CLASSES`.
    mask : str
        Path of the lung mask below the root.
    source, patient, processing : str
        Where the image came from, whose it is, how it was prepared.
    group : str
        Near duplicates and images of one patient share a group, which must never be split.
    """

    file: str
    label: str
    mask: str = ""
    source: str = ""
    patient: str = ""
    group: str = ""
    processing: str = ""


class Dataset:
    """A folder of chest X-rays.

    Parameters
    ----------
    root : path-like

    Attributes
    ----------
    root : Path
    records : list of Record
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.records: list[Record] = []

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
