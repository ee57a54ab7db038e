"""A description of the films that were used, in Croissant, the format of MLCommons."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lungcls.errors import DataError, MissingExtraError
from lungcls.evaluation.results import write_csv
from lungcls.files import file_sha256, write_json
from lungcls.paper.evidence import Evidence
from lungcls.paper.references import entries, used_keys

FILMS = "films"
"""Stem of the table of films, which the description is about."""

_COLUMNS = {
    "file": "Path of the film below the dataset's folder.",
    "label": "Class of the film; empty where it has none.",
    "source": "Where the film came from; empty where it is not known.",
    "group": "Films of one patient and near duplicates share a group, which no split may divide.",
    "part": "train, validation or test of the split that was used; empty without one.",
    "mask": "Path of the lung mask; empty where there is none.",
}
_OF_DATA = ("Chowdhury2020", "Rahman2021", "Cohen2020", "Kermany2018", "Jaeger2014", "Candemir2014")


def write_croissant(evidence: Evidence, out: Path) -> list[Path]:
    """Write ``films.csv`` (a row a film) and ``croissant.json``, which describes it and the images.

    Parameters
    ----------
    evidence : Evidence
        With a dataset.
    out : Path
        Folder.

    Returns
    -------
    list of Path

    Raises
    ------
    MissingExtraError
        If mlcroissant is not installed.
    DataError
        If the dataset is missing, or mlcroissant finds the description wrong.

    References
    ----------
    Akhtar et al. (2024), Croissant: A Metadata Format for ML-Ready Datasets, DEEM.
    """
    try:
        import mlcroissant as mlc
    except ImportError as error:
        raise MissingExtraError("mlcroissant", "paper", "a Croissant description") from error
    dataset = evidence.dataset
    if dataset is None:
        raise DataError("a Croissant description is of a dataset: name its folder with --data")
    split = evidence.split.content if evidence.split else None
    rows: list[dict[str, Any]] = [
        {
            "file": record.file,
            "label": record.label,
            "source": record.source,
            "group": (split.groups.get(record.file, "") if split else "") or record.group,
            "part": split.parts.get(record.file, "") if split else record.part,
            "mask": record.mask,
        }
        for record in dataset.records
    ]
    table = write_csv(out, FILMS, rows)
    columns = [
        mlc.Field(
            id=f"{FILMS}/{name}",
            name=name,
            description=words,
            data_types=mlc.DataType.TEXT,
            source=mlc.Source(file_object=f"{FILMS}.csv", extract=mlc.Extract(column=name)),
        )
        for name, words in _COLUMNS.items()
    ]
    suffixes = sorted({Path(record.file).suffix for record in dataset.records})
    metadata = mlc.Metadata(
        name=re.sub(r"[^\w-]+", "-", dataset.title),
        description=f"{len(rows)} chest X-rays of {dataset.title}, as lungcls read them (layout "
        f"{dataset.layout})." + (f" Parts are those of the split {split.hash}." if split else ""),
        cite_as="\n".join(entries()[key] for key in used_keys(evidence) if key in _OF_DATA) or None,
        data_limitations=list(dataset.notes) or None,
        distribution=[
            mlc.FileObject(
                id=f"{FILMS}.csv",
                name=f"{FILMS}.csv",
                description="A row a film.",
                content_url=f"{FILMS}.csv",
                encoding_formats=["text/csv"],
                sha256=file_sha256(table),
            ),
            mlc.FileSet(
                id="images",
                name="images",
                description="The films themselves, below the dataset's folder; they are not part of this "
                "description.",
                encoding_formats=[
                    _FORMATS.get(suffix.lower(), "application/octet-stream") for suffix in suffixes
                ],
                includes=[f"**/*{suffix}" for suffix in suffixes],
            ),
        ],
        record_sets=[
            mlc.RecordSet(id=FILMS, name=FILMS, description="The films.", key=f"{FILMS}/file", fields=columns)
        ],
    )
    path = out / "croissant.json"
    write_json(path, metadata.to_json(), indent=2, ensure_ascii=False, default=str)
    try:
        mlc.Dataset(jsonld=str(path))
    except mlc.ValidationError as error:
        path.unlink()
        raise DataError(f"{path}: mlcroissant finds it wrong ({error})") from error
    return [table, path]


_FORMATS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
    ".dcm": "application/dicom",
}
