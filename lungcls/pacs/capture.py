"""A picture of the film with outlines and notice burnt in, which every viewer shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from lungcls.pacs.codes import NOTICE, SERIES, Software
from lungcls.pacs.outlines import outlines
from lungcls.pacs.seg import COLOURS
from lungcls.pacs.sides import LungPart
from lungcls.pacs.source import copy_body_part
from lungcls.regions import Pixels, stretch
from lungcls.render.pictures import grey_picture

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

MAX_SIDE: Final = 1536
"""Longer pictures are made smaller: they are for looking, not for measuring."""


def draw_picture(pixels: Pixels, parts: Sequence[LungPart], lines: Sequence[str]) -> NDArray[np.uint8]:
    """Draw film, outlines and text.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    parts : sequence of LungPart
        Outlined and named; may be empty.
    lines : sequence of str
        Text below the film; the notice follows.

    Returns
    -------
    uint8 array [H', W', 3]
    """
    height, width = pixels.shape
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = grey_picture(stretch(pixels))
    film = grey.resize(size, PILImage.Resampling.BOX).convert("RGB")
    points = max(11, round(max(size) / 55))
    font = ImageFont.load_default(points)
    draw = ImageDraw.Draw(film)
    for part in parts:
        for line in outlines(part.mask):
            draw.line([(x * scale, y * scale) for x, y in line], COLOURS[part.side], max(1, max(size) // 500))
        if part.side is not None:
            rows, columns = np.nonzero(part.mask)
            place = ((columns.mean() + 0.5) * scale, (rows.min() + 0.5) * scale)
            letter = part.side[0].upper()
            draw.text(
                place, letter, COLOURS[part.side], font, anchor="md", stroke_width=1, stroke_fill="black"
            )
    text = _wrapped([*lines, NOTICE], font, max(size[0], 32))
    step = round(points * 1.3)
    sheet = PILImage.new("RGB", (size[0], size[1] + step * len(text) + step // 2))
    sheet.paste(film)
    below = ImageDraw.Draw(sheet)
    for number, words in enumerate(text):
        below.text((step // 4, size[1] + step // 4 + number * step), words, "white", font)
    return np.asarray(sheet)


def make_capture(
    header: Dataset,
    picture: NDArray[np.uint8],
    software: Software,
    series_uid: str,
    instance_uid: str,
) -> SCImage:
    """Write a picture as a secondary capture in the film's study.

    Parameters
    ----------
    header : Dataset
        Of the film.
    picture : uint8 array [H, W, 3]
        From :func:`draw_picture`. It has no spacing, since it is not for measuring.
    software, series_uid, instance_uid
    """
    number, description = SERIES["sc"]
    result = SCImage.from_ref_dataset(
        ref_dataset=header,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        series_instance_uid=series_uid,
        series_number=number,
        series_description=description,
        sop_instance_uid=instance_uid,
        instance_number=1,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **software.equipment(),
    )
    # highdicom wants an orientation; the film's is the one that holds, known or not.
    result["PatientOrientation"].value = header.get("PatientOrientation")
    copy_body_part(header, result)
    result.ConversionType = "WSD"
    result.DerivationDescription = "Film, outlines of the lungs and a notice burnt in; not for measuring"
    if header.get("BurnedInAnnotation"):
        result.BurnedInAnnotation = header.BurnedInAnnotation
    result.copy_patient_and_study_information(header)
    if header.get("LossyImageCompression") == "01":
        for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in header:
                setattr(result, keyword, header.get(keyword))
    source = Dataset()
    source.ReferencedSOPClassUID = header.SOPClassUID
    source.ReferencedSOPInstanceUID = header.SOPInstanceUID
    source.PurposeOfReferenceCodeSequence = [
        CodedConcept.from_code(codes.cid7202.SourceImageForImageProcessingOperation)
    ]
    result.SourceImageSequence = [source]
    return result


def _wrapped(
    lines: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    """Break lines at spaces where they would leave the picture."""
    result = []
    for line in lines:
        current = ""
        for word in line.split():
            longer = f"{current} {word}".strip()
            if current and font.getlength(longer) > width - 8:
                result.append(current)
                longer = word
            current = longer
        result.append(current)
    return result
