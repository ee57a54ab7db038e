"""CoronaHack: the Kermany children, and COVID-19 films of the ieee8023 collection in the training part."""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any, Final

from lungcls.data.classmap import ClassMap, classes_of, describe, load_classes, map_name
from lungcls.data.csvfile import read_csv
from lungcls.data.dataset import Dataset, Record
from lungcls.errors import DataError

logger = logging.getLogger(__name__)

METADATA: Final = "Chest_xray_Corona_Metadata.csv"
SUMMARY: Final = "Chest_xray_Corona_dataset_Summary.csv"
IMAGES: Final = "Coronahack-Chest-XRay-Dataset"

CLASSES: Final = ("Normal/NA", "Pneumonia/NA", "Pneumonia/COVID-19")
"""The three classes: label, a slash, and the second virus category, ``NA`` where that is empty."""

_LABEL, _FIRST, _SECOND = "Label", "Label_1_Virus_category", "Label_2_Virus_category"
_PARTS: Final = {"TRAIN": "train", "TEST": "test"}


class CoronaHack(Dataset):
    """The CoronaHack Chest X-Ray dataset (Kaggle, praveengovi).

    Parameters
    ----------
    root : path-like
        The folder with ``Chest_xray_Corona_Metadata.csv`` and, one or two levels below it, the folders
        ``train`` and ``test``.
    classes : str, path or mapping, optional
        Another way to make classes, as :func:`lungcls.data.classmap.load_classes` takes it. An image is
        looked up as ``Label/Label_1/Label_2``, as ``Label/Label_2``, and by each alone, the second category
        first. By default the three classes of :data:`CLASSES`; SARS, ARDS and Streptococcus (11 images) are
        left out.

    Attributes
    ----------
    metadata_counts : dict of (str, str, str) to int
        Rows of the metadata for each label and first and second virus category, ``NA`` where one is empty,
        whether or not their images are there.
    official_counts : dict of (str, str, str) to int or None
        The same as the dataset's own summary file gives it, where it is there.

    Raises
    ------
    DataError
        If the metadata cannot be read, or none of its images is there.

    Notes
    -----
    Patients are told by the names of the Kermany images (``person124_virus_232``, ``IM-0128-0001``), which
    count anew in each part. Those of the COVID-19 images are not known.
    """

    layout = "coronahack"
    looks = f"CoronaHack: {METADATA} and the folders train and test"
    certain = True
    published = "CoronaHack"

    @classmethod
    def recognise(cls, folder: Path) -> Path | None:
        """Return the folder if it holds the collection's metadata."""
        return folder if (folder / METADATA).is_file() else None

    @classmethod
    def open(cls, root: str | Path, classes: str | Path | ClassMap | None = None) -> CoronaHack:
        """Open a copy; findings become classes while it is read."""
        return cls(root, classes=classes)

    @classmethod
    def open_four(cls, root: str | Path) -> CoronaHack:
        """Open a copy with the four classes of lungcls."""
        return cls(root, classes="four")

    def __init__(self, root: str | Path, *, classes: str | Path | ClassMap | None = None) -> None:
        super().__init__(root)
        mapping = {name: name for name in CLASSES} if classes is None else load_classes(classes)
        self.classes = classes_of(mapping)
        columns = ("X_ray_image_name", _LABEL, "Dataset_type", _FIRST, _SECOND)
        rows = read_csv(self.root / METADATA, columns)
        folders = self._folders()
        self.metadata_counts: dict[tuple[str, str, str], int] = dict(
            sorted(Counter(_finding(row) for row in rows).items())
        )
        self.official_counts = self._read_summary()
        dropped: Counter[str] = Counter()
        for row in rows:
            label, first, second = _finding(row)
            name = map_name(mapping, f"{label}/{first}/{second}", f"{label}/{second}", second, first, label)
            if not name:
                dropped[f"finding {label}/{second}"] += 1
                continue
            part = _PARTS.get(row["Dataset_type"].upper(), "")
            if not part:
                raise DataError(
                    f"{self.root / METADATA}: Dataset_type {row['Dataset_type']!r} of "
                    f"{row['X_ray_image_name']}; expected TRAIN or TEST"
                )
            path = folders[part] / row["X_ray_image_name"]
            file = path.relative_to(self.root).as_posix()
            if not path.is_file():
                self.missing_files.append(file)
                continue
            patient = _patient(row["X_ray_image_name"])
            covid = second == "COVID-19"
            self.records.append(
                Record(
                    file=file,
                    label=name,
                    source="covid-chestxray" if covid else "kermany" if patient else "",
                    patient=f"{part} {patient}" if patient else "",
                    part=part,
                )
            )
        self.dropped = dict(dropped)
        if not self.records:
            raise DataError(
                f"{self.root}: none of the {len(rows)} images that {METADATA} names is there; expected "
                "them in "
                f"{IMAGES}/{IMAGES}/train and .../test"
            )
        self._note()

    def summary(self) -> dict[str, Any]:
        """Return the counts of every dataset, and ``metadata``: rows by label and virus categories.

        ``metadata`` counts what the metadata name, also where images are missing, under keys such as
        ``Pneumonia/Virus/COVID-19``.
        """
        counts = {"/".join(key): count for key, count in self.metadata_counts.items()}
        return {**super().summary(), "metadata": counts}

    def _folders(self) -> dict[str, Path]:
        for base in (self.root / IMAGES / IMAGES, self.root / IMAGES, self.root):
            if any((base / part).is_dir() for part in _PARTS.values()):
                return {part: base / part for part in _PARTS.values()}
        raise DataError(
            f"{self.root} holds {METADATA} and no images; expected {IMAGES}/{IMAGES}/train and .../test"
        )

    def _read_summary(self) -> dict[tuple[str, str, str], int] | None:
        path = self.root / SUMMARY
        if not path.is_file():
            return None
        rows = read_csv(path, (_LABEL, _FIRST, _SECOND, "Image_Count"))
        try:
            return {_finding(row): int(float(row["Image_Count"])) for row in rows}
        except ValueError as error:
            raise DataError(f"{path}: a value of Image_Count is no number ({error})") from error

    def _note(self) -> None:
        if self.official_counts is not None and self.official_counts != self.metadata_counts:
            keys = sorted(set(self.official_counts) | set(self.metadata_counts))
            wrong = [
                f"{'/'.join(key)}: {self.metadata_counts.get(key, 0)} rows against "
                f"{self.official_counts.get(key, 0)}"
                for key in keys
                if self.metadata_counts.get(key) != self.official_counts.get(key)
            ]
            self.notes.append(f"The metadata do not give the counts of {SUMMARY}: {'; '.join(wrong)}.")
        if self.missing_files:
            self.notes.append(
                f"{len(self.missing_files)} of {len(self.missing_files) + len(self.records)} images of "
                f"{describe(self.classes)} are not in the folder."
            )
        covid = [record for record in self.records if record.source == "covid-chestxray"]
        if covid and not any(record.part == "test" for record in covid):
            self.notes.append(
                "The dataset's own test part holds no COVID-19 image: nothing about COVID-19 can be "
                "measured on "
                "it. Use the grouped split (the default of `lungcls data split`)."
            )
        self.notes.append(
            "Normal and Pneumonia are children of one hospital, COVID-19 are adults from many sources: a "
            "model "
            "can tell them apart without looking at the disease."
        )
        for note in self.notes:
            logger.info("%s: %s", self.root, note)


def _finding(row: dict[str, str]) -> tuple[str, str, str]:
    """Return label and categories; empty cells become NA, and the file's misspelling is corrected."""
    label = "Pneumonia" if row[_LABEL].lower() in {"pnemonia", "pneumonia"} else row[_LABEL]
    return label or "NA", row[_FIRST] or "NA", row[_SECOND] or "NA"


def _patient(name: str) -> str:
    """Return who a Kermany image shows, or "" where its name does not tell.

    Examples
    --------
    >>> [_patient(name) for name in ("person124_virus_232.jpeg", "NORMAL2-IM-0689-0001.jpeg", "x.jpg")]
    ['person124', 'NORMAL2-IM-0689', '']
    """
    match = re.match(r"(person\d+)_|((?:NORMAL\d*-)?IM-\d+)-", name)
    return (match[1] or match[2]) if match else ""
