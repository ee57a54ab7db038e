"""The COVID-19 Radiography Database: the original folders, and reduced copies with a manifest."""

from __future__ import annotations

import csv
import logging
import os
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from lungcls.data.dataset import Dataset, Record, images_by_stem
from lungcls.errors import DataError
from lungcls.images import SUFFIXES
from lungcls.labels import CLASSES

logger = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
TITLE = "COVID-19 Radiography Database"

# Which of the database's two big sources a URL of its metadata means; any other URL is a source of its own.
_URL_SOURCES = {"rsna": "rsna", "chest-xray-pneumonia": "kermany"}


class RadiographyDatabase(Dataset):
    """The COVID-19 Radiography Database (Chowdhury 2020, Rahman 2021).

    Two layouts are read: the original (``<Class>/images/*.png``, ``<Class>/masks/*.png`` and
    ``<Class>.metadata.xlsx`` where present), and any copy with a ``manifest.csv`` (columns ``file``,
    ``label``, and optionally ``mask``, ``source``, ``patient``, ``group``, ``processing``, ``part``).

    Parameters
    ----------
    root : path-like
        The folder that holds the four class folders or the manifest.

    Attributes
    ----------
    root : Path
    records : list of Record
        Sorted as the manifest is, or by class and name.
    missing_masks : list of str
        Images without a mask.
    missing_files : list of str
        Files that the manifest names and the folder lacks; their records are left out (images) or have no
        mask (masks).
    orphan_masks : list of str
        Masks without an image.

    Raises
    ------
    DataError
        If the folder has neither a manifest nor class folders with images.
    """

    layout = "radiography"

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self.classes = CLASSES
        self.title = TITLE
        self.orphan_masks: list[str] = []
        if (self.root / MANIFEST).is_file():
            self.records = self._read_manifest()
        else:
            self.records = self._read_folders()
        if not self.records:
            raise DataError(self._expected("no image was found"))
        self.grouped = any(record.group for record in self.records)
        self.missing_masks = [record.file for record in self.records if not record.mask]
        for what, names in (
            ("images without a mask", self.missing_masks),
            ("files named but missing", self.missing_files),
            ("masks without an image", self.orphan_masks),
        ):
            if names:
                logger.info("%s: %d %s, such as %s", self.root, len(names), what, names[0])

    def summary(self) -> dict[str, Any]:
        """Return the counts of every dataset, and the number of masks without an image."""
        return {**super().summary(), "orphan_masks": len(self.orphan_masks)}

    def _expected(self, found: str) -> str:
        return (
            f"{self.root} is not a copy of the COVID-19 Radiography Database: {found}. Expected a "
            f"{MANIFEST} with the columns file and label, or the folders "
            f"{', '.join(f'{name}/images' for name in CLASSES)}. "
            "`lungcls data download radiography` says how to get it."
        )

    def _read_manifest(self) -> list[Record]:
        path = self.root / MANIFEST
        known = [field.name for field in fields(Record)]
        records = []
        named = set()
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"file", "label"} <= set(reader.fieldnames or ()):
                raise DataError(self._expected(f"the columns of {MANIFEST} are {reader.fieldnames}"))
            on_disk = _listing(self.root)
            for row in reader:
                if row["label"] not in CLASSES:
                    raise DataError(
                        f"{path}, line {reader.line_num}: label {row['label']!r}; expected one of {CLASSES}"
                    )
                if row.get("mask"):
                    named.add(row["mask"])
                    if row["mask"] not in on_disk:
                        self.missing_files.append(row["mask"])
                        row["mask"] = ""
                if row["file"] not in on_disk:
                    self.missing_files.append(row["file"])
                    continue
                records.append(Record(**{name: row.get(name) or "" for name in known}))
        masks = {name for name in on_disk if "/masks/" in name}
        self.orphan_masks = sorted(masks - named)
        return records

    def _read_folders(self) -> list[Record]:
        if not self.root.is_dir():
            raise DataError(self._expected("it is not a folder"))
        records = []
        present = [name for name in CLASSES if (self.root / name / "images").is_dir()]
        if not present:
            entries = sorted(path.name for path in self.root.iterdir())[:5]
            raise DataError(self._expected(f"it holds {', '.join(entries) or 'nothing'}"))
        for label in present:
            images = images_by_stem(self.root / label / "images")
            masks = images_by_stem(self.root / label / "masks")
            urls = _read_urls(self.root / f"{label}.metadata.xlsx")
            self.orphan_masks += [
                f"{label}/masks/{path.name}" for stem, path in masks.items() if stem not in images
            ]
            for stem, path in images.items():
                mask = masks.get(stem)
                records.append(
                    Record(
                        file=f"{label}/images/{path.name}",
                        label=label,
                        mask=f"{label}/masks/{mask.name}" if mask else "",
                        source=_source(urls.get(stem.lower(), "")),
                    )
                )
        return records


def _listing(root: Path) -> set[str]:
    # Not rglob, which does not enter linked folders.
    paths = (Path(folder, name) for folder, _, names in os.walk(root, followlinks=True) for name in names)
    return {path.relative_to(root).as_posix() for path in paths if path.suffix.lower() in SUFFIXES}


def _read_urls(path: Path) -> dict[str, str]:
    """Read the database's own metadata: lower-case file stem to URL; empty where it cannot be read."""
    if not path.is_file():
        return {}
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        logger.warning("%s is not read (sources stay unknown): pip install 'lungcls[data]'", path)
        return {}
    try:
        workbook = openpyxl.load_workbook(path, read_only=True)
    except (OSError, ValueError, KeyError, InvalidFileException, zipfile.BadZipFile) as error:
        logger.warning("%s is not readable (sources stay unknown): %s", path, error)
        return {}
    rows = workbook.active.iter_rows(values_only=True)
    header = [str(cell).strip().upper() for cell in next(rows, ())]
    if not {"FILE NAME", "URL"} <= set(header):
        raise DataError(f"{path}: the columns are {header}; expected FILE NAME, FORMAT, SIZE, URL")
    name, url = header.index("FILE NAME"), header.index("URL")
    urls = {str(row[name]).strip().lower(): str(row[url] or "").strip() for row in rows if row[name]}
    workbook.close()
    return urls


def _source(url: str) -> str:
    for part, source in _URL_SOURCES.items():
        if part in url.lower():
            return source
    return url
