"""All files of one film's result in a folder: DICOM objects and the formats of research."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.dataset import Dataset

from lungcls.errors import ImageError, LungclsError, LungMaskError, OptionError
from lungcls.files import atomic_write, write_rows
from lungcls.pacs.codes import Software
from lungcls.pacs.deidentify import Deidentifier
from lungcls.pacs.formats import coco_annotations, coco_document, write_label_png, write_nifti
from lungcls.pacs.measurements import COLUMNS, head_is_up, measure
from lungcls.pacs.results import header_of, lungs_of, moved_pixels, objects_of
from lungcls.pacs.sides import LungPart, lung_parts, part_notes, patient_axis
from lungcls.pacs.source import Spacing, physical_spacing

FORMATS: Final = ("nifti", "coco", "png", "csv")
"""Formats of research: a NIfTI a film, one COCO file, a PNG of labels a film, one table of measurements."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResultFolder:
    """Writes what belongs to each film below one folder.

    Parameters
    ----------
    out : Path
    software : Software
    kinds : tuple of {"seg", "sr", "gsps", "sc"}
        DICOM objects: ``dicom/<film>.<kind>.dcm``.
    formats : tuple of str
        Some of :data:`FORMATS`: ``nifti/<film>.nii.gz``, ``labels/<film>.png``, ``coco.json`` and
        ``measurements.csv``.
    new_study : bool
        Make a film that has no study one of a new study: ``dicom/<film>.film.dcm``.
    deidentifier : Deidentifier, optional
        Takes the patient off the DICOM objects, which are then named by their UIDs.
    viewer_plane : bool
        Of segmentations: see :func:`lungcls.pacs.seg.make_seg`.
    """

    out: Path
    software: Software
    kinds: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    new_study: bool = False
    deidentifier: Deidentifier | None = None
    viewer_plane: bool = False

    def write(self, result: Any, stem: str) -> dict[str, Any]:
        """Write one film's files.

        Parameters
        ----------
        result : Prediction or Lungs
        stem : str
            Name of its files below their folders, without suffix.

        Returns
        -------
        dict
            ``files``: paths below `out`; ``notes``: what could not be told; ``unwritten``: why there are no
            DICOM objects, or None; ``measurements`` and ``coco`` where these formats were asked for.

        Raises
        ------
        LungclsError
            If the film is gone or has changed.
        """
        lungs = lungs_of(result)
        moved_pixels(lungs)
        row: dict[str, Any] = {"files": [], "notes": [], "unwritten": None}
        header: Dataset | None = None
        try:
            header, film = header_of(lungs.path, new_study=lungs.pixels() if self.new_study else None)
        except ImageError as error:
            row["unwritten"] = str(error) if self.kinds else None
        else:
            if self.kinds:
                self._write_dicom(result, header, film, stem, row)
        if self.formats:
            self._write_formats(lungs, header, stem, row)
        return row

    def _write_dicom(
        self, result: Any, header: Dataset, film: Dataset | None, stem: str, row: dict[str, Any]
    ) -> None:
        lungs = lungs_of(result)
        try:
            if self.deidentifier is not None:
                header = self.deidentifier.film(header, lungs.path)
                film = None if film is None else self.deidentifier.film(film, lungs.path)
            output = objects_of(result, header, self.software, self.kinds, self.viewer_plane)
        except LungclsError as error:
            row["unwritten"] = str(error)
            return
        row["notes"] = list(output.notes)
        objects: dict[str, Dataset] = {str(kind): dataset for kind, dataset in output.datasets.items()}
        if film is not None:
            objects = {"film": film, **objects}
        for kind, dataset in objects.items():
            name = dataset.SOPInstanceUID if self.deidentifier else stem
            row["files"].append(f"dicom/{name}.{kind}.dcm")
            with atomic_write(self.out / row["files"][-1]) as file:
                dataset.save_as(file, enforce_file_format=True)

    def _write_formats(self, lungs: Any, header: Dataset | None, stem: str, row: dict[str, Any]) -> None:
        shape = lungs.mask.shape
        axis = patient_axis(header) if header is not None else None
        spacing = physical_spacing(header) if header is not None else None
        try:
            parts: tuple[LungPart, ...] = lung_parts(lungs.mask, axis)
        except LungMaskError:
            parts = ()
        row["notes"] = [*row["notes"], *(note for note in part_notes(parts) if note not in row["notes"])]
        if "nifti" in self.formats:
            row["files"].append(f"nifti/{stem}.nii.gz")
            write_nifti(self.out / row["files"][-1], parts, shape, spacing)
        if "png" in self.formats:
            row["files"].append(f"labels/{stem}.png")
            write_label_png(self.out / row["files"][-1], parts, shape)
        if "coco" in self.formats:
            row["coco"] = coco_annotations(parts)
        if "csv" in self.formats:
            row["measurements"] = _measured(lungs, header, parts, spacing)

    def write_tables(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the files of all films: ``coco.json`` and ``measurements.csv``.

        Parameters
        ----------
        rows : iterable of dict
            Of a run: ``path``, ``height``, ``width``, and what :meth:`write` returned under ``export``.
        """
        done = [row for row in rows if row.get("export")]
        if "coco" in self.formats:
            films = [(row["path"], row["height"], row["width"], row["export"]["coco"]) for row in done]
            with atomic_write(self.out / "coco.json", "w") as file:
                json.dump(coco_document(films), file)
        if "csv" in self.formats:
            lines = ({"path": row["path"], **line} for row in done for line in row["export"]["measurements"])
            write_rows(self.out / "measurements.csv", COLUMNS, lines)


def _measured(
    lungs: Any, header: Dataset | None, parts: Sequence[LungPart], spacing: Spacing | None
) -> list[dict[str, Any]]:
    return measure(parts, lungs.pixels(), spacing, head_is_up(header)) if parts else []


def checked_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Return the formats in their order; OptionError for an unknown name."""
    if unknown := sorted(set(names) - set(FORMATS)):
        raise OptionError(f"formats: found {', '.join(unknown)}, expected some of {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in names)
