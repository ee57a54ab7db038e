"""Datasets of torchxrayvision, read as datasets of lungcls."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from lungcls.data.classmap import REST, ClassMap, classes_of, load_classes, map_name
from lungcls.data.dataset import Dataset, Record
from lungcls.errors import DataError

NO_FINDING: Final = "No Finding"
"""The class of a film of which every pathology is known to be absent."""

# Where each class of torchxrayvision 1.5 reads a film, below its `imgpath`; the row is that of its `.csv`.
_PLACES: Final[dict[str, Callable[[Any, Any], str]]] = {
    "NIH_Dataset": lambda data, row: row["Image Index"],
    "NIH_Google_Dataset": lambda data, row: row["Image Index"],
    "RSNA_Pneumonia_Dataset": lambda data, row: f"{row['patientId']}{data.extension}",
    "PC_Dataset": lambda data, row: row["ImageID"],
    "CheX_Dataset": lambda data, row: (
        row["Path"].replace("CheXpert-v1.0-small/", "").replace("CheXpert-v1.0/", "")
    ),
    "CheXlocalize_Dataset": lambda data, row: row["Path"],
    "MIMIC_Dataset": lambda data, row: (
        f"p{str(row['subject_id'])[:2]}/p{row['subject_id']}/s{row['study_id']}/{row['dicom_id']}.jpg"
    ),
    "BRAX_Dataset": lambda data, row: row["PngPath"].replace("images/", "", 1),
    "Openi_Dataset": lambda data, row: f"{row['imageid']}.png",
    "COVID19_Dataset": lambda data, row: row["filename"],
    "NLMTB_Dataset": lambda data, row: f"CXR_png/{row['fname']}",
    "TBX11K_Dataset": lambda data, row: f"imgs/{row['file_name']}",
    "SIIM_Pneumothorax_Dataset": lambda data, row: data.file_map.get(f"{row['ImageId']}.dcm", row["ImageId"]),
    "VinDr_Dataset": lambda data, row: f"{row['image_id']}.dicom",
}
_OF_OTHERS: Final = ("MergeDataset", "SubsetDataset", "FilterDataset")


def is_xrv(value: Any) -> bool:
    """Whether something is a dataset as torchxrayvision makes them."""
    return all(hasattr(value, name) for name in ("pathologies", "labels", "csv")) and not isinstance(
        value, Dataset
    )


class XrvFilms(Dataset):
    """A dataset of torchxrayvision: its films, its patients, and one class a film.

    Parameters
    ----------
    dataset : torchxrayvision.datasets.Dataset
        One that reads files, or a ``MergeDataset``, ``SubsetDataset`` or ``FilterDataset`` of such. Its
        transforms are left out: films are read whole, as lungcls reads all films.
    classes : str, path or mapping, optional
        How pathologies become classes, as :func:`lungcls.data.classmap.load_classes` takes it.

    Raises
    ------
    DataError
        If it is no dataset of torchxrayvision, keeps its films in no files, or no film is left.

    Notes
    -----
    A film may have several pathologies there and has one class here. Without `classes` a film with one
    pathology is of that class, one with none is ``No Finding``. With `classes` a film is of the one class
    that all of its pathologies that the mapping names lead to. Films with several classes, and films of
    which a pathology is not known (NaN) and none is present, are left out and counted in ``dropped``.

    References
    ----------
    Cohen, J. P., et al. (2022). TorchXRayVision: A library of chest X-ray datasets and models. MIDL.
    """

    layout = "xrv"
    looks = "a dataset of torchxrayvision, made in Python or named torchxrayvision.datasets:Class"

    def __init__(self, dataset: Any, classes: str | Path | ClassMap | None = None) -> None:
        if not is_xrv(dataset):
            raise DataError(
                f"found an object of type {type(dataset).__name__}, expected a dataset of torchxrayvision"
            )
        films = list(_films(dataset))
        super().__init__(os.path.commonpath([os.path.dirname(path) for path, _ in films] or ["."]))
        mapping = None if classes is None else load_classes(classes)
        names = [str(name) for name in dataset.pathologies]
        self.classes = (*names, NO_FINDING) if mapping is None else classes_of(mapping)
        dropped: Counter[str] = Counter()
        seen: set[str] = set()
        for (path, source), values, row in zip(films, np.asarray(dataset.labels, float), _rows(dataset)):
            label, reason = _label(names, values, mapping)
            file = Path(path).relative_to(self.root).as_posix()
            if file in seen:
                reason = "image named twice"
            if reason:
                dropped[reason] += 1
                continue
            seen.add(file)
            if not Path(path).is_file():
                self.missing_files.append(file)
                continue
            patient = row.get("patientid")
            has_patient = patient is not None and patient == patient  # NaN is not equal to itself
            self.records.append(
                Record(
                    file=file,
                    label=label,
                    source=source,
                    patient=f"{source} {patient}" if has_patient else "",
                )
            )
        self.dropped = dict(sorted(dropped.items()))
        if not self.records:
            raise DataError(
                f"{self.root}: no film is left of {len(films)} in {type(dataset).__name__} "
                f"({len(self.missing_files)} files are not there; left out: {self.dropped or 'none'})"
            )
        if mapping is None:
            present = {record.label for record in self.records}
            self.classes = tuple(name for name in self.classes if name in present)
        self.notes = [
            "Labels of torchxrayvision's datasets mostly come from reports, read by programs; a film with "
            "several findings has no class here."
        ]

    @classmethod
    def open(cls, root: Any, classes: str | Path | ClassMap | None = None) -> XrvFilms:
        """Read a dataset of torchxrayvision."""
        return cls(root, classes)

    @classmethod
    def open_four(cls, root: Any) -> XrvFilms:
        """Read a dataset of torchxrayvision with the four classes of lungcls."""
        return cls(root, "four")


def xrv_kind(made_of: type[Any]) -> type[XrvFilms]:
    """Return the kind of dataset that reads a folder with a class of torchxrayvision.

    Parameters
    ----------
    made_of : class
        Such as ``torchxrayvision.datasets.NIH_Dataset``; it is called with the folder as ``imgpath``.
    """

    class Films(XrvFilms):
        @classmethod
        def open(cls, root: Any, classes: str | Path | ClassMap | None = None) -> Films:
            try:
                dataset = made_of(imgpath=str(root))
            except (TypeError, OSError) as error:
                raise DataError(
                    f"{root}: torchxrayvision's {made_of.__name__} does not read it ({error}); make the "
                    "dataset in Python and give it to lungcls.data.open_dataset"
                ) from error
            return cls(dataset, classes)

        @classmethod
        def open_four(cls, root: Any) -> Films:
            return cls.open(root, "four")

    return Films


def _films(dataset: Any) -> Iterator[tuple[str, str]]:
    """Path of each film and the name of the class that reads it, in the dataset's order."""
    kinds = [kind.__name__ for kind in type(dataset).__mro__]
    if "MergeDataset" in kinds:
        for part in dataset.datasets:
            yield from _films(part)
        return
    if "SubsetDataset" in kinds or "FilterDataset" in kinds:
        inner = list(_films(dataset.dataset))
        yield from (inner[index] for index in dataset.idxs)
        return
    kind = next((kind for kind in kinds if kind in _PLACES), None)
    if kind is None:
        raise DataError(
            f"{kinds[0]} keeps its films in no files that lungcls knows of; known are "
            f"{', '.join((*_PLACES, *_OF_OTHERS))}"
        )
    root = os.path.abspath(dataset.imgpath)
    for row in _rows(dataset):
        yield os.path.join(root, _PLACES[kind](dataset, row)), kind.removesuffix("_Dataset")


def _rows(dataset: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = dataset.csv.to_dict("records")
    return rows


def _label(names: list[str], values: Any, mapping: ClassMap | None) -> tuple[str, str]:
    """The class of a film, or why it has none."""
    present = [name for name, value in zip(names, values) if value > 0]
    if not present and np.isnan(values).any():
        return "", "pathologies not known"
    findings = present or [NO_FINDING]
    if mapping is None:
        labels = findings
    else:
        named = {key: value for key, value in mapping.items() if key != REST}
        labels = list(dict.fromkeys(filter(None, (map_name(named, name) for name in findings))))
        labels = labels or list(filter(None, [mapping.get(REST, "")]))
    if len(labels) > 1:
        return "", "several classes"
    return (labels[0], "") if labels else ("", f"class {', '.join(findings)}")
