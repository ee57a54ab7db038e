"""Films without their patient: what is on a list is kept, everything else goes.

The list holds no attribute that the Basic Application Level Confidentiality Profile of DICOM PS3.15 (Annex E)
removes or replaces, except UIDs, which are replaced. Results are made from the header of a film that went
through here, so that they carry no more than it does.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Collection
from copy import deepcopy
from pathlib import Path
from typing import Final

from pydicom.datadict import keyword_dict
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from lungcls.errors import ImageError, OptionError
from lungcls.files import atomic_write
from lungcls.pacs.standard import is_single_frame_image

PROFILE: Final = "lungcls keep-list 1"
"""Name of the profile, as it is written into every file (DeidentificationMethod)."""

UIDS: Final = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"})
"""UIDs that are replaced, the same one always by the same."""

_PIXELS = (
    "Rows Columns SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit "
    "PixelRepresentation PixelAspectRatio SmallestImagePixelValue LargestImagePixelValue PixelPaddingValue "
    "PixelPaddingRangeLimit NumberOfFrames PixelData"
)
_GREY = (
    "WindowCenter WindowWidth VOILUTFunction RescaleIntercept RescaleSlope RescaleType PresentationLUTShape "
    "ModalityLUTSequence VOILUTSequence LUTDescriptor ModalityLUTType LUTData PixelIntensityRelationship "
    "PixelIntensityRelationshipSign LossyImageCompression LossyImageCompressionRatio "
    "LossyImageCompressionMethod"
)
_FILM = (
    "SOPClassUID ImageType Modality PresentationIntentType ConversionType SpecificCharacterSet SeriesNumber "
    "InstanceNumber BurnedInAnnotation BodyPartExamined ViewPosition Laterality ImageLaterality "
    "PatientOrientation PositionReferenceIndicator ImagePositionPatient ImageOrientationPatient PixelSpacing "
    "ImagerPixelSpacing NominalScannedPixelSpacing PixelSpacingCalibrationType "
    "EstimatedRadiographicMagnificationFactor DistanceSourceToDetector DistanceSourceToPatient "
    "AnatomicRegionSequence ViewCodeSequence CodeValue CodingSchemeDesignator "
    "CodeMeaning DetectorType KVP ExposureTime XRayTubeCurrent Exposure Manufacturer"
)
KEPT: Final = frozenset(" ".join((_PIXELS, _GREY, _FILM)).split()) | UIDS
"""Attributes that stay, by keyword, at every level of a file."""

_EMPTY: Final = (
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_NEVER: Final = frozenset({"PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames"})


class Deidentifier:
    """Takes the patient off films, the same way each time.

    Parameters
    ----------
    key : bytes
        A secret of the project: UIDs and patient IDs are replaced by what only its owner can compute, so that
        the images of one patient stay together and nobody can test a guess.
    keep : collection of str, default=()
        Keywords that are kept besides :data:`KEPT`, such as ``PatientSex``. They are named in every file.

    Raises
    ------
    OptionError
        If the key is shorter than 16 bytes, or a keyword is unknown, a name or a patient's ID.
    """

    def __init__(self, key: bytes, keep: Collection[str] = ()) -> None:
        if len(key) < 16:
            raise OptionError(f"the key for de-identification has {len(key)} bytes; expected at least 16")
        wrong = sorted(set(keep) - keyword_dict.keys() | set(keep) & _NEVER)
        if wrong:
            raise OptionError(
                f"to keep: found {', '.join(wrong)}, expected DICOM keywords such as PatientSex or "
                "PatientAge, and none that names a patient"
            )
        self._key = key
        self._extra = tuple(sorted(set(keep) - KEPT))
        self._kept = KEPT | set(keep)

    @classmethod
    def from_file(cls, path: str | Path, keep: Collection[str] = ()) -> Deidentifier:
        """Read the key from a file; a file that is missing is made, with a random key for its owner alone."""
        path = Path(path)
        if not path.exists():
            with atomic_write(path, "w") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(secrets.token_hex(32) + "\n")
        return cls(path.read_bytes().strip(), keep)

    def pseudonym(self, kind: str, text: str) -> str:
        """Return what stands for a text, as 32 hexadecimal digits."""
        return hmac.new(self._key, f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()[:32]

    def uid(self, uid: str) -> UID:
        """Return what stands for a UID."""
        return UID(f"2.25.{int(self.pseudonym('uid', uid), 16)}")

    def film(self, film: Dataset, name: str) -> Dataset:
        """Return a film without its patient.

        Parameters
        ----------
        film : Dataset
            With or without pixels; unchanged.
        name : str
            What messages call it.

        Raises
        ------
        ImageError
            If it is no image of one frame, or its header says that the patient's name is in the pixels.

        Notes
        -----
        The pixels are not looked at: what is written on the film stays on it.
        """
        if not is_single_frame_image(film.get("SOPClassUID") or ""):
            raise ImageError(
                f"{name}: found SOP class {film.get('SOPClassUID')}, expected a film; results of films are "
                "made without a patient by predicting with --deidentify"
            )
        if film.get("BurnedInAnnotation") == "YES":
            raise ImageError(
                f"{name}: found BurnedInAnnotation YES, expected a film without text that identifies the "
                "patient; blacken it in the pixels first"
            )
        result = self._reduced(film)
        for keyword in _EMPTY:
            if keyword not in result:
                setattr(result, keyword, "")
        if "AcquisitionContextSequence" in film:
            result.AcquisitionContextSequence = []  # a digital X-ray has to have one
        patient = str(film.get("PatientID") or "")
        result.PatientID = self.pseudonym("patient", patient)[:16] if patient else ""
        result.PatientName = f"{result.PatientID}^" if patient else ""
        result.PatientIdentityRemoved = "YES"
        result.LongitudinalTemporalInformationModified = "REMOVED"
        result.DeidentificationMethod = [
            PROFILE,
            "PS3.15 Basic Profile; pixels not cleaned",
            *(f"kept besides: {keyword}" for keyword in self._extra),
        ]
        if not self._extra:
            code = codes.DCM.BasicApplicationConfidentialityProfile
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[:3]
            result.DeidentificationMethodCodeSequence = [item]
        if (meta := getattr(film, "file_meta", None)) is not None and "TransferSyntaxUID" in meta:
            result.file_meta = FileMetaDataset()
            result.file_meta.TransferSyntaxUID = meta.TransferSyntaxUID
            result.file_meta.MediaStorageSOPClassUID = result.SOPClassUID
            result.file_meta.MediaStorageSOPInstanceUID = result.get("SOPInstanceUID")
        return result

    def _reduced(self, dataset: Dataset) -> Dataset:
        result = Dataset()
        for element in dataset:
            if element.tag.is_private or element.keyword not in self._kept:
                continue
            if element.VR == "SQ":
                copy = deepcopy(element)
                copy.value = [self._reduced(item) for item in element.value]
                result.add(copy)
            elif element.keyword in UIDS:
                if element.value:
                    setattr(result, element.keyword, self.uid(str(element.value)))
            else:
                result.add(element)
        return result
