"""The header of the film that a result belongs to: what is taken over from it, and what it must have."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pydicom
from highdicom import SpecificCharacterSetValues
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM

from lungcls.dicom import number_pair
from lungcls.errors import ImageError
from lungcls.pacs.standard import is_single_frame_image

_log = logging.getLogger(__name__)

_IDENTITY: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_TYPE_2: Final = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_PLACE: Final = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_SEXES: Final = ("M", "F", "O", "")


@dataclass(frozen=True, slots=True)
class Spacing:
    """How large a pixel is, and where in space that holds.

    Attributes
    ----------
    row, column : float
        Millimetres between the centres of two rows, and of two columns.
    meaning : str
        What the numbers are: ``calibrated``, ``at the detector``, or ``as the file says``.
    tag : str
        The attribute that they come from.
    magnification : float or None
        EstimatedRadiographicMagnificationFactor, where the file has it and the numbers hold at the detector:
        what lies in the patient is smaller by it.
    """

    row: float
    column: float
    meaning: str
    tag: str
    magnification: float | None = None

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in mm2."""
        return self.row * self.column

    def words(self) -> str:
        """Say what an area in mm2 is worth."""
        text = f"Areas by {self.tag}, {self.meaning}"
        if self.meaning == "calibrated":
            return f"{text}."
        if self.magnification is None:
            return f"{text}; not corrected for magnification, which the file does not tell."
        return (
            f"{text}; not corrected for magnification: the file estimates a factor of "
            f"{self.magnification:.4g}, by which areas in the patient are {self.magnification**2:.4g} times "
            "smaller."
        )


def read_header(file: str | Path | bytes) -> Dataset:
    """Read a DICOM file's header and make it fit to be taken over.

    Parameters
    ----------
    file : path or bytes

    Returns
    -------
    Dataset
        Without pixels; see :func:`checked_header`.

    Raises
    ------
    ImageError
        If it is no DICOM file, or one without study.
    """
    name = "<bytes>" if isinstance(file, bytes) else str(file)
    source: Any = BytesIO(file) if isinstance(file, bytes) else file
    try:
        dataset = pydicom.dcmread(source, stop_before_pixels=True, force=True)
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise ImageError(
            f"{name}: found a file whose DICOM header cannot be read ({type(error).__name__}), expected a "
            "complete one; fetch it again from its archive"
        ) from error
    return checked_header(dataset, name)


def checked_header(dataset: Dataset, name: str) -> Dataset:
    """Return a film's header as results take it over.

    Type 2 attributes that are missing are added empty, values that no DICOM file may have are emptied (the
    log names the attribute, never the value), and a position that is not complete is left out.

    Parameters
    ----------
    dataset : Dataset
        Unchanged.
    name : str
        What messages call the film.

    Raises
    ------
    ImageError
        If it belongs to no study, or is no image of one frame.
    """
    header = Dataset()
    for tag in list(dataset.keys()):
        if tag.group == 2 or tag.group >= 0x7FE0 or tag.is_private:
            continue
        try:
            header.add(dataset[tag])  # converts it; damaged values raise anything
        except Exception:
            _log.warning("%s: the value of %s cannot be read and is left out", name, tag)
    missing = [keyword for keyword in _IDENTITY if not header.get(keyword)]
    if missing:
        raise ImageError(
            f"{name}: found no {', '.join(missing)}, expected a film that belongs to a study: DICOM results "
            "would refer to nothing. Pass the DICOM file of the archive, or ask for a new study (--new-study)"
        )
    if not is_single_frame_image(header.SOPClassUID):
        raise ImageError(
            f"{name}: found SOP class {header.SOPClassUID}, expected an image of one frame (CR, DX or "
            "secondary capture); results for others cannot be written"
        )
    for keyword in _TYPE_2:
        if keyword not in header:
            setattr(header, keyword, "")
    _empty_unlawful(header, name)
    _complete_place(header, name)
    _fit_character_set(header)
    return header


def physical_spacing(header: Dataset) -> Spacing | None:
    """Return the size of a pixel and what it means; None where the file does not tell it."""
    detector, patient = number_pair(header, "ImagerPixelSpacing"), number_pair(header, "PixelSpacing")
    factor = _number(header.get("EstimatedRadiographicMagnificationFactor"))
    magnification = factor if factor is not None and factor > 0 else None
    if patient is not None and patient != detector:
        calibrated = header.get("PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL")
        meaning = "calibrated" if calibrated or detector is not None else "as the file says"
        return Spacing(*patient, meaning, "PixelSpacing")
    if detector is not None:
        return Spacing(*detector, "at the detector", "ImagerPixelSpacing", magnification)
    return None


def copy_body_part(header: Dataset, result: Dataset) -> None:
    """Take over which part of the body a film shows, and that its side is unknown only where it is."""
    for keyword in ("BodyPartExamined", "Laterality"):
        if header.get(keyword):
            setattr(result, keyword, header.get(keyword))
    if "BodyPartExamined" not in result and "Laterality" not in result:
        result.Laterality = ""


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _empty_unlawful(header: Dataset, name: str) -> None:
    checks: dict[str, Any] = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}
    for keyword, check in checks.items():
        try:
            check(header.get(keyword) or "")
        except (TypeError, ValueError):
            _log.warning("%s: %s is no lawful value and is left empty in the results", name, keyword)
            setattr(header, keyword, "")
    if header.PatientSex not in _SEXES and header.PatientSex is not None:
        _log.warning("%s: PatientSex is none of M, F and O and is left empty in the results", name)
        header.PatientSex = ""


def _complete_place(header: Dataset, name: str) -> None:
    """Keep a frame of reference, and a position only where it is whole."""
    if "FrameOfReferenceUID" in header and not header.FrameOfReferenceUID:
        del header.FrameOfReferenceUID
    place = {keyword: header.get(keyword) for keyword in _PLACE[:2]}
    whole = (
        "FrameOfReferenceUID" in header
        and len(place["ImagePositionPatient"] or ()) == 3
        and len(place["ImageOrientationPatient"] or ()) == 6
        and number_pair(header, "PixelSpacing") is not None
    )
    if whole:
        return
    if any(place.values()):
        _log.info("%s: its position is not complete and is not taken over", name)
    for keyword in _PLACE[:2]:
        if keyword in header:
            del header[keyword]
    if "PixelSpacing" in header and number_pair(header, "PixelSpacing") is None:
        del header.PixelSpacing


def _fit_character_set(header: Dataset) -> None:
    """Keep the film's character set where it is one of today's, and go over to UTF-8 where it is not."""
    named = header.get("SpecificCharacterSet")
    names = [named] if isinstance(named, str) or named is None else list(named)
    lawful = {item.value for item in SpecificCharacterSetValues}
    if named and all(item in lawful for item in names if item):
        return
    header.decode()
    texts = (str(element.value) for element in header.iterall() if element.VR != "SQ")
    if all(text.isascii() for text in texts):
        if "SpecificCharacterSet" in header:
            del header.SpecificCharacterSet
        return
    header.SpecificCharacterSet = "ISO_IR 192"
    header.decode()
