"""covid-chestxray-dataset: the ieee8023 collection of published case images (Cohen 2020)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlparse

from lungcls.data.classmap import ClassMap, classes_of, finding_names, load_classes, map_name
from lungcls.data.csvfile import header, read_csv
from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import join_keys
from lungcls.errors import DataError

logger = logging.getLogger(__name__)

METADATA: Final = "metadata.csv"
COLUMNS: Final = ("patientid", "finding", "view", "modality", "filename")
"""Columns of the metadata that are needed; ``folder`` (of the image) and ``url`` are used where present."""

VIEWS: Final = ("PA", "AP", "AP Supine")
"""Frontal views, which are kept."""


class CovidChestXray(Dataset):
    """The covid-chestxray-dataset (github.com/ieee8023, on Kaggle as bachrr/covid-chest-xray).

    Kept are the rows of modality X-ray and a frontal view whose finding has a class; all others are counted
    in ``dropped``, those whose file is not there in ``missing_files``, so that together with ``records``
    they give the rows of the metadata.

    Parameters
    ----------
    root : path-like
        The folder with ``metadata.csv`` and ``images``.
    classes : str, path or mapping, default="binary"
        How findings become classes, as :func:`lungcls.data.classmap.load_classes` takes it: ``binary``
        (COVID, other), ``three`` (COVID, Pneumonia, Normal), ``four`` (those of lungcls), or a mapping. A
        finding is looked up as a whole and then by its parts, the most special first
        (``Pneumonia/Viral/COVID-19``: COVID-19, Viral, Pneumonia).
    views : sequence of str, default=("PA", "AP", "AP Supine")

    Raises
    ------
    DataError
        If the metadata cannot be read, or no image is left.

    References
    ----------
    Cohen, J. P., et al. (2020). COVID-19 Image Data Collection: Prospective Predictions Are the Future.
    """

    layout = "covid-chestxray"
    looks = f"covid-chestxray-dataset: {METADATA} with the columns {', '.join(COLUMNS)}, and images/"
    certain = True
    published = "covid-chestxray-dataset"

    @classmethod
    def recognise(cls, folder: Path) -> Path | None:
        """Return the folder if it holds the collection's metadata."""
        return folder if set(COLUMNS) <= set(header(folder / METADATA)) else None

    @classmethod
    def open(cls, root: str | Path, classes: str | Path | ClassMap | None = None) -> CovidChestXray:
        """Open a copy; findings become classes while it is read."""
        return cls(root, classes="binary" if classes is None else classes)

    @classmethod
    def open_four(cls, root: str | Path) -> CovidChestXray:
        """Open a copy with the four classes of lungcls."""
        return cls(root, classes="four")

    def __init__(
        self,
        root: str | Path,
        *,
        classes: str | Path | ClassMap = "binary",
        views: Sequence[str] = VIEWS,
    ) -> None:
        super().__init__(root)
        mapping = load_classes(classes)
        self.classes = classes_of(mapping)
        path = self.root / METADATA
        rows = read_csv(path, COLUMNS)
        kept = {view.lower() for view in views}
        dropped: Counter[str] = Counter()
        groups = _groups_of_patients(rows)
        seen: set[str] = set()
        for row in rows:
            label = map_name(mapping, *finding_names(row["finding"]))
            file = f"{row.get('folder') or 'images'}/{row['filename']}"
            reason = ""
            if row["modality"].lower() != "x-ray":
                reason = f"modality {row['modality'] or 'not stated'}"
            elif row["view"].lower() not in kept:
                reason = f"view {row['view'] or 'not stated'}"
            elif not label:
                reason = f"finding {row['finding'] or 'not stated'}"
            elif file in seen:
                reason = "image named twice"
            if reason:
                dropped[reason] += 1
                continue
            seen.add(file)
            if not (self.root / file).is_file():
                self.missing_files.append(file)
                continue
            patient = row["patientid"]
            self.records.append(
                Record(
                    file=file,
                    label=label,
                    source=urlparse(row.get("url", "")).netloc.removeprefix("www."),
                    patient=patient,
                    group=groups.get(patient, ""),
                )
            )
        self.dropped = dict(sorted(dropped.items()))
        if not self.records:
            raise DataError(
                f"{path}: no image is left of {len(rows)} rows ({len(self.missing_files)} files are not "
                "there; left "
                f"out: {self.dropped}). Expected the X-rays in {self.root / 'images'}, and findings that "
                "the classes "
                f"{', '.join(self.classes)} are made of"
            )
        self.notes = [
            "The images were published one by one, as cases: sources, sizes and processing differ, and go "
            "with "
            "the finding.",
            "Many of the COVID images are also in the COVID-19 Radiography Database: this is no external "
            "test of a "
            "model trained on that.",
        ]
        if self.missing_files:
            self.notes.append(
                f"{len(self.missing_files)} images that the metadata name are not in the folder."
            )
        logger.info("%s: %d images; left out: %s", self.root, len(self.records), self.dropped)


def _groups_of_patients(rows: list[dict[str, str]]) -> dict[str, str]:
    """Return a group for each patient who shares an image file with another: they may be the same person."""
    rows = [row for row in rows if row["patientid"]]
    patients = [row["patientid"] for row in rows]
    keys = [[f"patient {row['patientid']}", f"file {row['filename']}"] for row in rows]
    joined = join_keys(keys)
    members: dict[str, set[str]] = {}
    for patient, name in zip(patients, joined):
        members.setdefault(name, set()).add(patient)
    return {
        patient: f"patients {' '.join(sorted(patients))}"
        for patients in members.values()
        if len(patients) > 1
        for patient in patients
    }
