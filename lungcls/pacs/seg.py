"""The lungs as a DICOM segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from highdicom.color import CIELabColor
from highdicom.content import PixelMeasuresSequence
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from lungcls.errors import ImageError
from lungcls.pacs.codes import (
    ANATOMY,
    BOTH,
    LEFT_LUNG,
    LUNG,
    NOTICE,
    RIGHT_LUNG,
    SERIES,
    Software,
)
from lungcls.pacs.sides import LungPart

COLOURS: Final = {"right": (66, 165, 245), "left": (255, 167, 38), None: (129, 199, 132)}
"""Colour of each side in 8-bit RGB: the patient's right blue, the left orange, unknown green."""


def make_seg(
    header: Dataset,
    parts: Sequence[LungPart],
    software: Software,
    series_uid: str,
    instance_uid: str,
    viewer_plane: bool = False,
) -> Segmentation:
    """Write the lungs as a BINARY segmentation, one segment and one frame a lung.

    Parameters
    ----------
    header : Dataset
        Of the film, from :func:`lungcls.pacs.source.read_header`. Study, patient and frame of reference are
        taken over, position and spacing where the film has them, and the history of lossy compression.
    parts : sequence of LungPart
        From :func:`lungcls.pacs.sides.lung_parts`.
    software : Software
    series_uid, instance_uid : str
    viewer_plane : bool, default=False
        Write the plane in which viewers on cornerstone3D (OHIF) put a film that has none: without it they
        show no segmentation. It is theirs, and says nothing of the patient.

    Raises
    ------
    ImageError
        If the masks are not of the film's size.
    """
    shape = (int(header.Rows), int(header.Columns))
    if parts[0].mask.shape != shape:
        raise ImageError(
            f"found a lung mask of {parts[0].mask.shape} pixels, expected the {shape} of the DICOM film; "
            "pass the mask at the film's own size"
        )
    number, description = SERIES["seg"]
    algorithm = software.segmentation_algorithm()
    segments = []
    for position, part in enumerate(parts, 1):
        segment = SegmentDescription(
            segment_number=position,
            segment_label=part.label,
            segmented_property_category=ANATOMY,
            segmented_property_type={"left": LEFT_LUNG, "right": RIGHT_LUNG, None: LUNG}[part.side],
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            display_color=CIELabColor.from_rgb(*COLOURS[part.side]),
        )
        if part.separation:
            segment.SegmentDescription = part.separation.capitalize()
        if part.both:
            kind = segment.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept.from_code(BOTH)]
        segments.append(segment)
    result = Segmentation(
        source_images=[header],
        pixel_array=np.stack([part.mask for part in parts], axis=-1)[np.newaxis].astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=series_uid,
        series_number=number,
        series_description=description,
        sop_instance_uid=instance_uid,
        instance_number=1,
        content_label="LUNGS",
        content_description=NOTICE[:64],
        pixel_measures=_measures(header),
        omit_empty_frames=False,
        **software.equipment(),
    )
    shared = result.SharedFunctionalGroupsSequence[0]
    for measures in shared.get("PixelMeasuresSequence") or ():
        if "SpacingBetweenSlices" in measures and "SpacingBetweenSlices" not in header:
            del measures.SpacingBetweenSlices  # highdicom's for what has no slices
    placed = any(keyword in header for keyword in ("ImagePositionPatient", "SliceThickness"))
    if "FrameOfReferenceUID" in header and not placed and "PixelMeasuresSequence" in shared:
        # Within a frame of reference spacing is of slices with a thickness. The film itself has the spacing.
        del shared.PixelMeasuresSequence
    if "ImagePositionPatient" not in header:
        result.PatientOrientation = header.get("PatientOrientation") or ""
        if viewer_plane:
            _add_viewer_plane(shared)
    return result


def _add_viewer_plane(shared: Dataset) -> None:
    plane = Dataset()
    plane.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    shared.PlaneOrientationSequence = [plane]
    if "PixelMeasuresSequence" not in shared:
        measures = Dataset()
        measures.PixelSpacingCalibrationDescription = "Spacing in the patient is unknown"
        shared.PixelMeasuresSequence = [measures]


def _measures(header: Dataset) -> PixelMeasuresSequence | None:
    """The film's spacing, where it holds in the patient; that at the detector is not of the patient."""
    if "PixelSpacing" not in header:
        return None
    return PixelMeasuresSequence(
        [float(number) for number in header.PixelSpacing], slice_thickness=header.get("SliceThickness")
    )
