"""Fetching the COVID-19 Radiography Database from Kaggle."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

from lungcls.errors import DataError, MissingExtraError
from lungcls.labels import CLASSES

logger = logging.getLogger(__name__)

DATASET = "tawsifurrahman/covid19-radiography-database"
"""Name of the dataset on Kaggle."""

_BY_HAND = (
    f"To get it by hand: open the dataset {DATASET} on Kaggle in a browser, download and unpack the archive, "
    "and pass the folder that holds "
    + ", ".join(f"'{name}/images'" for name in CLASSES)
    + " (with '<Class>/masks' beside each) as the data folder."
)


def download_radiography(*, force: bool = False) -> Path:
    """Download the COVID-19 Radiography Database, or find it where it was downloaded before.

    Parameters
    ----------
    force : bool
        Download again even if there is a copy in kagglehub's cache.

    Returns
    -------
    Path
        The folder with the four class folders, for `RadiographyDatabase`. It lies in kagglehub's cache (see
        the environment variable KAGGLEHUB_CACHE).

    Raises
    ------
    MissingExtraError
        If kagglehub is not installed.
    DataError
        If the download fails (no network, no Kaggle account, no disk space) or holds other folders than
        expected.
    """
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError as error:
        raise MissingExtraError("kagglehub", "data", "downloading the Radiography Database") from error
    try:
        # kagglehub and the libraries below it raise errors of many unrelated types.
        got = Path(kagglehub.dataset_download(DATASET, force_download=force))
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason given"
        raise DataError(
            f"Kaggle dataset {DATASET} could not be downloaded ({type(error).__name__}: {reason}). The "
            "download needs a connection to Kaggle, and an account there where it asks for one (kagglehub "
            f"reads ~/.kaggle/kaggle.json, or KAGGLE_USERNAME and KAGGLE_KEY). {_BY_HAND}"
        ) from error
    root = _class_root(got)
    logger.info("Kaggle dataset %s lies in %s", DATASET, root)
    return root


def _class_root(folder: Path) -> Path:
    """Return the folder that holds the class folders: the download, or one up to two levels below it."""
    if not folder.is_dir():
        raise DataError(f"{folder}, where kagglehub put {DATASET}, is not a folder. {_BY_HAND}")
    for pattern in (".", "*", "*/*"):
        for candidate in sorted(folder.glob(pattern)) if pattern != "." else [folder]:
            if all((candidate / name / "images").is_dir() for name in CLASSES):
                return candidate
    entries = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
    raise DataError(
        f"{folder}: the download of {DATASET} holds {entries}; expected the folders "
        + ", ".join(f"'{name}/images'" for name in CLASSES)
        + f". {_BY_HAND}"
    )
