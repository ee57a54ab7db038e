"""From a folder to the dataset that lies in it."""

from __future__ import annotations

from pathlib import Path

from lungcls.data.dataset import Dataset
from lungcls.data.maskfolder import MaskFolder
from lungcls.data.radiography import RadiographyDatabase
from lungcls.errors import DataError


def open_radiography(root: str | Path) -> RadiographyDatabase:
    """Open a copy of the COVID-19 Radiography Database, at `root` or in ``radiography`` below it.

    Raises
    ------
    DataError
        If neither is one; the message says what was expected.
    """
    below = Path(root) / "radiography"
    return RadiographyDatabase(below if below.is_dir() else root)


def open_dataset(root: str | Path) -> Dataset:
    """Open whichever dataset a folder holds.

    Parameters
    ----------
    root : path-like
        A copy of the COVID-19 Radiography Database (or a folder with one in ``radiography``), or a folder
        with ``images`` and ``masks``.

    Returns
    -------
    RadiographyDatabase or MaskFolder

    Raises
    ------
    DataError
        If it is none of them.
    """
    path = Path(root)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; --data takes the folder of a dataset")
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return MaskFolder(path)
    return open_radiography(path)
