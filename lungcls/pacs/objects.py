"""All DICOM objects of one film, made together so that they refer to each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset

from lungcls.errors import ImageError, LungMaskError, OptionError
from lungcls.pacs.capture import draw_picture, make_capture
from lungcls.pacs.codes import KINDS, Kind, Software, stable_uid
from lungcls.pacs.presentation import make_gsps
from lungcls.pacs.seg import make_seg
from lungcls.pacs.sides import LungPart, lung_parts, part_notes, patient_axis
from lungcls.pacs.sr import Findings, make_sr
from lungcls.regions import Mask, Pixels

_TEXTS: Final = ("PatientName", "PatientID", "AccessionNumber", "StudyID", "ReferringPhysicianName")


@dataclass(frozen=True, eq=False)
class Objects:
    """DICOM objects by kind.

    Attributes
    ----------
    datasets : dict of Kind to Dataset
        In the order of :data:`lungcls.pacs.codes.KINDS`.
    notes : tuple of str
        What was asked for and could not be written, and what could not be told apart.
    """

    datasets: dict[Kind, Dataset]
    notes: tuple[str, ...] = ()


def checked_kinds(names: Sequence[str]) -> tuple[Kind, ...]:
    """Return the kinds in their order; OptionError for an unknown name or none."""
    unknown = sorted(set(names) - set(KINDS))
    if unknown or not names:
        raise OptionError(
            f"DICOM objects {', '.join(unknown) or '(none)'}; expected some of {', '.join(KINDS)}"
        )
    return tuple(kind for kind in KINDS if kind in names)


def make_objects(
    header: Dataset,
    mask: Mask,
    pixels: Pixels,
    findings: Findings,
    software: Software,
    kinds: Sequence[str] = ("seg", "sr"),
    viewer_plane: bool = False,
) -> Objects:
    """Make the DICOM objects of one film.

    Parameters
    ----------
    header : Dataset
        Of the film, from :func:`lungcls.pacs.source.read_header`.
    mask : bool array [H, W]
        The lungs, at the film's own Rows and Columns.
    pixels : float32 array [H, W] in [0, 1]
        The film as it is to be shown in a secondary capture.
    findings : Findings
    software : Software
    kinds : sequence of {"seg", "sr", "gsps", "sc"}, default=("seg", "sr")
    viewer_plane : bool, default=False
        Of the segmentation: see :func:`lungcls.pacs.seg.make_seg`.

    Returns
    -------
    Objects
        UIDs follow from the film, the software and what was found: the same result is the same object,
        however often it is made.

    Raises
    ------
    ImageError
        If the mask is not of the film's size.
    OptionError
        If a kind is unknown.
    """
    chosen = checked_kinds(kinds)
    shape = (int(header.Rows), int(header.Columns))
    if mask.shape != shape or pixels.shape != shape:
        raise ImageError(
            f"found a lung mask of {mask.shape} and an image of {pixels.shape} pixels, expected the {shape} "
            "of the DICOM film; pass both at the film's own size"
        )
    parts, notes = _lungs_on(header, mask, chosen)
    viewer_plane = viewer_plane and "ImagePositionPatient" not in header
    if viewer_plane and "seg" in chosen and parts:
        notes += ("the segmentation has a nominal plane for viewers, which says nothing of the patient",)
    findings = replace(findings, notes=(*findings.notes, *notes))
    identity = (str(header.SOPInstanceUID), str(software.device_uid), _digest(mask, findings, header))

    def uids(kind: Kind) -> tuple[str, str]:
        return stable_uid("series", kind, *identity), stable_uid("instance", kind, *identity)

    film, header = header, _without_texts(header)
    datasets: dict[Kind, Dataset] = {}
    seg: Segmentation | None = None
    if "seg" in chosen and parts:
        seg = datasets["seg"] = make_seg(header, parts, software, *uids("seg"), viewer_plane=viewer_plane)
    if "sr" in chosen:
        datasets["sr"] = make_sr(header, findings, parts, software, *uids("sr"), seg=seg)
    if "gsps" in chosen and parts:
        datasets["gsps"] = make_gsps(header, parts, software, *uids("gsps"))
    if "sc" in chosen:
        picture = draw_picture(pixels, parts, _lines(findings))
        datasets["sc"] = make_capture(header, picture, software, *uids("sc"))
    for dataset in datasets.values():
        for keyword in _TEXTS:
            dataset.add(deepcopy(film[keyword]))
    return Objects(datasets, notes)


def _without_texts(header: Dataset) -> Dataset:
    """A header for highdicom, which warns and fails, naming the patient, where a film has unlawful texts.

    What the film has is taken over afterwards, letter for letter.
    """
    bare = Dataset()
    bare.update(header)
    for keyword in _TEXTS:
        del bare[keyword]
        setattr(bare, keyword, "")
    if "ImagePositionPatient" in bare and "SliceThickness" not in bare:
        bare.SliceThickness = None  # asked for beside a position; a film has none
    return bare


def _lungs_on(
    header: Dataset, mask: Mask, chosen: Sequence[Kind]
) -> tuple[tuple[LungPart, ...], tuple[str, ...]]:
    try:
        parts = lung_parts(mask, patient_axis(header))
    except LungMaskError:
        left_out = [kind for kind in ("seg", "gsps") if kind in chosen]
        return (), (f"no lungs were found{', so no ' + ' and '.join(left_out) if left_out else ''}",)
    return parts, part_notes(parts)


def _lines(findings: Findings) -> list[str]:
    """What a picture says below the film."""
    lines = []
    if findings.probabilities:
        ranked = sorted(findings.probabilities.items(), key=lambda item: -item[1])
        lines.append(", ".join(f"{name} {value:.2f}" for name, value in ranked))
        if findings.label is None:
            lines[0] = "No label is given"
    wrong = [reason.message for reason in findings.reasons]
    return lines + (["; ".join(wrong)] if wrong else []) + list(findings.notes)


def _digest(mask: Mask, findings: Findings, header: Dataset) -> str:
    digest = hashlib.sha256(np.packbits(mask).tobytes())
    digest.update(json.dumps(asdict(findings), sort_keys=True, default=str).encode())
    digest.update(str(header.get("PatientOrientation")).encode())
    return digest.hexdigest()
