"""The outlines of the lungs as a grayscale softcopy presentation state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom import PresentationLUTTransformation
from highdicom.color import CIELabColor
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from pydicom.dataset import Dataset

from lungcls.pacs.codes import NOTICE, SERIES, Software
from lungcls.pacs.outlines import outlines
from lungcls.pacs.seg import COLOURS
from lungcls.pacs.sides import LungPart
from lungcls.pacs.source import copy_body_part


def make_gsps(
    header: Dataset, parts: Sequence[LungPart], software: Software, series_uid: str, instance_uid: str
) -> GrayscaleSoftcopyPresentationState:
    """Draw the lungs' outlines and names and the notice over the film, for viewers without segmentations.

    Parameters
    ----------
    header, parts, software, series_uid, instance_uid
        As :func:`lungcls.pacs.seg.make_seg` takes them. Rescale, window and lookup tables of the film stay.
    """
    number, description = SERIES["gsps"]
    layers, annotations = [], []
    for order, part in enumerate(parts, 1):
        layer = GraphicLayer(
            f"LUNG{order}",
            order=order,
            description=part.label[:64],
            display_color=CIELabColor.from_rgb(*COLOURS[part.side]),
        )
        lines = [
            GraphicObject("POLYLINE", line.astype(np.float32), "PIXEL", is_filled=False)
            for line in outlines(part.mask)
        ]
        rows, columns = np.nonzero(part.mask)
        anchor = (float(columns.mean()) + 0.5, float(rows.min()) + 0.5)
        text = TextObject(part.label, "PIXEL", anchor_point=anchor, anchor_point_visible=False)
        layers.append(layer)
        annotations.append(GraphicAnnotation([header], layer, graphic_objects=lines, text_objects=[text]))
    notice = GraphicLayer("NOTICE", order=len(layers) + 1, description="Research notice")
    corner = TextObject(NOTICE, "DISPLAY", bounding_box=(0.0, 0.95, 1.0, 1.0), text_justification="LEFT")
    annotations.append(GraphicAnnotation([header], notice, text_objects=[corner]))
    # A presentation state's own LUT shape stands in for the film's MONOCHROME1, which it overrules.
    mirrored = header.get("PhotometricInterpretation") == "MONOCHROME1"
    result = GrayscaleSoftcopyPresentationState(
        referenced_images=[header],
        series_instance_uid=series_uid,
        series_number=number,
        series_description=description,
        sop_instance_uid=instance_uid,
        instance_number=1,
        content_label="LUNGS",
        content_description=NOTICE[:64],
        graphic_layers=[*layers, notice],
        graphic_annotations=annotations,
        presentation_lut_transformation=PresentationLUTTransformation("INVERSE" if mirrored else "IDENTITY"),
        **software.equipment(),
    )
    copy_body_part(header, result)
    area = result.DisplayedAreaSelectionSequence[0]
    del area.PixelOriginInterpretation  # is for tiled images
    if (ratio := _aspect(header)) is not None:
        area.PresentationPixelAspectRatio = ratio
    return result


def _aspect(header: Dataset) -> list[int] | None:
    """The shape of pixels that are not square, as whole numbers of height to width."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        try:
            height, width = (float(number) for number in header[keyword].value)
        except (KeyError, TypeError, ValueError):
            continue
        if height > 0 and width > 0:
            return [1, 1] if height == width else [round(10000 * height / width), 10000]
    return None
