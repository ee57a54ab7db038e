"""What was found on a film as a structured report (TID 1500)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from highdicom.seg import Segmentation
from highdicom.sr import (
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegmentationFrame,
    SourceImageForMeasurementGroup,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from lungcls.pacs.codes import (
    LEFT_LUNG,
    LUNG,
    MANUFACTURER,
    MODEL,
    NOTICE,
    PRIVATE_SCHEME,
    RIGHT_LUNG,
    SERIES,
    Software,
    private_code,
    stable_uid,
)
from lungcls.pacs.sides import LungPart
from lungcls.pacs.source import physical_spacing
from lungcls.quality import Reason

Group: TypeAlias = MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations

_NO_UNIT: Final = Code("1", "UCUM", "no units")
_PIXELS: Final = Code("{pixels}", "UCUM", "pixels")
_SQUARE_MM: Final = Code("mm2", "UCUM", "mm2")


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found on the whole film.

    Attributes
    ----------
    reasons : tuple of Reason
        What the quality gate finds wrong.
    accepted : bool
        False where it is no chest film.
    label : str or None
        The most probable class; None where it was withheld or not asked for.
    probabilities : mapping of str to float
        Calibrated; empty where no class was asked for.
    conformal_set : tuple of str
        Classes that cannot be ruled out at `coverage`.
    coverage : float or None
    region : str or None
        What of the film the classifier saw.
    notes : tuple of str
        What else the reader of the report has to know.
    several : bool
        Whether `label` is the findings of a film, joined by ``|``, in place of one class.
    """

    reasons: tuple[Reason, ...] = ()
    accepted: bool = True
    label: str | None = None
    probabilities: Mapping[str, float] | None = None
    conformal_set: tuple[str, ...] = ()
    coverage: float | None = None
    region: str | None = None
    notes: tuple[str, ...] = ()
    several: bool = False


def make_sr(
    header: Dataset,
    findings: Findings,
    parts: Sequence[LungPart],
    software: Software,
    series_uid: str,
    instance_uid: str,
    seg: Segmentation | None = None,
) -> ComprehensiveSR:
    """Write a measurement report: an evaluation of the film, then the area of each lung.

    Parameters
    ----------
    header : Dataset
        Of the film, from :func:`lungcls.pacs.source.read_header`.
    findings : Findings
    parts : sequence of LungPart
        May be empty.
    software : Software
    series_uid, instance_uid : str
    seg : Segmentation, optional
        The same lungs as a segmentation; the report then points at its segments.
    """
    number, description = SERIES["sr"]
    groups: list[Group] = [_film_group(header, findings, software)]
    groups += [_lung_group(header, part, order, software, seg) for order, part in enumerate(parts, 1)]
    context = ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=software.device_uid,
                name=MODEL,
                manufacturer_name=MANUFACTURER,
                model_name=f"{MODEL} {software.version}",
                serial_number=software.segmenter.sha256[:16],
            ),
        )
    )
    report = MeasurementReport(
        observation_context=context,
        procedure_reported=codes.cid100.XRUnspecifiedBodyRegion,
        imaging_measurements=groups,
        referenced_images=[header] if _fits_library(header) else None,
    )
    return ComprehensiveSR(
        evidence=[header] if seg is None else [header, seg],
        content=report,
        series_instance_uid=series_uid,
        series_number=number,
        series_description=description,
        sop_instance_uid=instance_uid,
        instance_number=1,
        is_complete=True,
        is_final=False,
        coding_schemes=[PRIVATE_SCHEME],
        **software.equipment(),
    )


def _film_group(
    header: Dataset, findings: Findings, software: Software
) -> MeasurementsAndQualitativeEvaluations:
    measurements = [
        Measurement(private_code(f"Calibrated probability of {name}"), float(value), _NO_UNIT)
        for name, value in (findings.probabilities or {}).items()
    ]
    evaluations = []
    if findings.label is not None:
        what = "Findings at their thresholds" if findings.several else "Most probable class"
        evaluations.append(_evaluation(what, findings.label))
    if findings.coverage is not None and findings.conformal_set:
        measurements.append(
            Measurement(private_code("Coverage of the conformal set"), findings.coverage, _NO_UNIT)
        )
        evaluations += [
            _evaluation("Class not ruled out at this coverage", name) for name in findings.conformal_set
        ]
    evaluations.append(_evaluation("Is a frontal chest film", "yes" if findings.accepted else "no"))
    evaluations += [
        _evaluation("Quality finding, corrected" if reason.corrected else "Quality finding", reason.name)
        for reason in findings.reasons
    ]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=stable_uid("film", str(header.SOPInstanceUID), str(software.device_uid)), identifier="Film"
        ),
        algorithm_id=software.report_algorithm(classes=bool(findings.probabilities)),
        measurements=measurements or None,
        qualitative_evaluations=evaluations,
        source_images=[SourceImageForMeasurementGroup.from_source_image(header)],
    )
    texts = [NOTICE]
    if findings.region is not None:
        texts.append(f"The classifier saw the region {findings.region!r}.")
    texts += [
        f"{reason.name}: {reason.message} (measured {reason.value:.4g}, limit {reason.threshold:.4g})"
        + (", corrected" if reason.corrected else "")
        for reason in findings.reasons
    ]
    if (spacing := physical_spacing(header)) is not None:
        texts.append(spacing.words())
    _add_comments(group, [*texts, *findings.notes])
    return group


def _lung_group(
    header: Dataset, part: LungPart, order: int, software: Software, seg: Segmentation | None
) -> Group:
    pixels = int(np.count_nonzero(part.mask))
    measurements = [Measurement(private_code("Area in pixels"), pixels, _PIXELS)]
    if (spacing := physical_spacing(header)) is not None:
        area = round(pixels * spacing.pixel_area, 2)
        measurements.insert(0, Measurement(codes.SCT.Area, area, _SQUARE_MM))
    site = {"left": LEFT_LUNG, "right": RIGHT_LUNG, None: LUNG}[part.side]
    common = {
        "tracking_identifier": TrackingIdentifier(
            uid=stable_uid("lung", str(order), str(header.SOPInstanceUID), str(software.device_uid)),
            identifier=part.label,
        ),
        "algorithm_id": software.report_algorithm(classes=False),
        "finding_type": site,
        "finding_sites": [FindingSite(site)],
        "measurements": measurements,
    }
    if seg is None:
        return MeasurementsAndQualitativeEvaluations(
            **common, source_images=[SourceImageForMeasurementGroup.from_source_image(header)]
        )
    frame = ReferencedSegmentationFrame(
        sop_class_uid=seg.SOPClassUID,
        sop_instance_uid=seg.SOPInstanceUID,
        frame_number=order,
        segment_number=order,
        source_image=SourceImageForSegmentation.from_source_image(header),
    )
    # The standard wants one of the two numbers, and a frame here is of one segment.
    del frame[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
    return PlanarROIMeasurementsAndQualitativeEvaluations(**common, referenced_segment=frame)


def _evaluation(question: str, answer: str) -> QualitativeEvaluation:
    return QualitativeEvaluation(private_code(question), private_code(answer))


def _add_comments(group: MeasurementsAndQualitativeEvaluations, texts: Sequence[str]) -> None:
    comment = CodedConcept.from_code(codes.DCM.Comment)
    group[0].ContentSequence.extend(
        TextContentItem(comment, text, relationship_type="CONTAINS") for text in texts
    )


def _fits_library(header: Dataset) -> bool:
    """Whether the image library can describe the film: highdicom asks more of some than the standard."""
    if header.get("Modality") not in ("CR", "DX", "RF", "RG", "XA"):
        return header.get("Modality") not in (None, "CT", "MR", "PT", "IO", "MG", "PX")
    spacing = header.get("ImagerPixelSpacing")
    orientation = header.get("PatientOrientation")
    return bool(spacing) and len(spacing) == 2 and bool(orientation) and len(orientation) == 2
