"""The COVID-19 Radiography Database: the original folders, and reduced copies with a manifest."""

from __future__ import annotations

import logging
import zipfile
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from lungcls.data.csvfile import header, read_csv
from lungcls.data.dataset import Dataset, Record
from lungcls.data.files import MASK_SUFFIXES, FileIndex, list_images, pair_masks
from lungcls.data.parts import PART_NAMES
from lungcls.errors import DataError
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
    looks = f"the COVID-19 Radiography Database: {MANIFEST}, or " + ", ".join(f"{c}/images" for c in CLASSES)
    certain = True
    published = TITLE

    @classmethod
    def recognise(cls, folder: Path) -> Path | None:
        """Return the folder itself, or ``radiography`` below it."""
        for place in (folder, folder / "radiography"):
            if (place / MANIFEST).is_file() or any((place / name / "images").is_dir() for name in CLASSES):
                return place
        return None

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self.classes = CLASSES
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

    def _expected(self, what: str) -> str:
        return (
            f"{self.root} is not a copy of the COVID-19 Radiography Database: {what}. Expected a "
            f"{MANIFEST} with the columns file and label, or the folders "
            f"{', '.join(f'{name}/images' for name in CLASSES)}. "
            "`lungcls data download radiography` says how to get it."
        )

    def _read_manifest(self) -> list[Record]:
        path = self.root / MANIFEST
        of_record = [
            field.name
            for field in fields(Record)
            if isinstance(field.default, str) or field.default is MISSING
        ]
        spelled = {one.lower().replace("_", " "): one for one in CLASSES}
        columns = header(path)
        if not {"file", "label"} <= {name.lower() for name in columns}:
            raise DataError(self._expected(f"the columns of {MANIFEST} are {columns}"))
        index = FileIndex(self.root)
        records: dict[str, Record] = {}
        named = set()
        for number, row in enumerate(read_csv(path, ("file", "label")), start=2):
            label = spelled.get(row["label"].lower().replace("_", " "))
            if label is None:
                raise DataError(f"{path}, row {number}: label {row['label']!r}; expected one of {CLASSES}")
            for key in ("mask", "other_mask"):
                if row.get(key):
                    mask = index.find(row[key])
                    if mask is None:
                        self.missing_files.append(row[key])
                    else:
                        named.add(mask)
                    row[key] = mask or ""
            if row.get("part"):
                part = PART_NAMES.get(row["part"].lower())
                if part is None:
                    names = ", ".join(dict.fromkeys(PART_NAMES.values()))
                    raise DataError(f"{path}, row {number}: part {row['part']!r}; expected one of {names}")
                row["part"] = part
            file = index.find(row["file"])
            if file is None:
                self.missing_files.append(row["file"])
                continue
            values: dict[str, Any] = {name: row.get(name, "") for name in of_record}
            record = Record(**{**values, "file": file, "label": label})
            if records.setdefault(file, record) != record:
                raise DataError(
                    f"{path}, row {number}: {row['file']} is there twice, with other values; keep one row"
                )
        unnamed = [name for name in index.files if name not in records and "/masks/" not in f"/{name}"]
        unnamed = [name for name in unnamed if name not in named]
        if unnamed:
            self.dropped[f"not named in {MANIFEST}"] = len(unnamed)
        self.orphan_masks = sorted({name for name in index.files if "/masks/" in name} - named)
        if not records and self.missing_files:
            raise DataError(
                f"{path}: none of the {len(self.missing_files)} files that it names is there, such as "
                f"{self.missing_files[0]}; expected paths below {self.root}"
            )
        return list(records.values())

    def _read_folders(self) -> list[Record]:
        if not self.root.is_dir():
            raise DataError(self._expected("it is not a folder"))
        records = []
        present = [name for name in CLASSES if (self.root / name / "images").is_dir()]
        if not present:
            entries = sorted(path.name for path in self.root.iterdir())[:5]
            raise DataError(self._expected(f"it holds {', '.join(entries) or 'nothing'}"))
        for label in present:
            images = list_images(self.root / label / "images")
            masks, orphans = pair_masks(images, list_images(self.root / label / "masks", MASK_SUFFIXES))
            urls = _read_urls(self.root / f"{label}.metadata.xlsx")
            self.orphan_masks += [f"{label}/masks/{path.name}" for path in orphans]
            for path in images:
                mask = masks.get(path)
                records.append(
                    Record(
                        file=f"{label}/images/{path.name}",
                        label=label,
                        mask=f"{label}/masks/{mask.name}" if mask else "",
                        source=_source(urls.get(path.stem.lower(), "")),
                    )
                )
        return records


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
