"""The lungs in the formats of research: NIfTI, COCO and a PNG of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from lungcls.errors import MissingExtraError
from lungcls.files import atomic_write
from lungcls.labels import NOTICE
from lungcls.pacs.measurements import lung_name
from lungcls.pacs.sides import LungPart
from lungcls.pacs.source import Spacing

LABELS: Final[Mapping[str, int]] = {
    "right_lung": 1,
    "left_lung": 2,
    "image_left_lung": 3,
    "image_right_lung": 4,
    "both_lungs": 5,
    "lung": 6,
}
"""Value of each name in label images and COCO files: the same in every file, whatever is on a film."""

_PALETTE: Final = (
    0,
    0,
    0,
    66,
    165,
    245,
    255,
    167,
    38,
    129,
    199,
    132,
    186,
    104,
    200,
    240,
    240,
    90,
    240,
    240,
    240,
)


def label_image(parts: Sequence[LungPart], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image of :data:`LABELS`, uint8 [H, W]; 0 is background."""
    image = np.zeros(shape, np.uint8)
    for part in parts:
        image[part.mask] = LABELS[lung_name(part)]
    return image


def write_label_png(path: Path, parts: Sequence[LungPart], shape: tuple[int, int]) -> None:
    """Write the labels as a PNG with a palette, so that it is readable by eye and by value."""
    image = PILImage.fromarray(label_image(parts, shape), "P")
    image.putpalette(list(_PALETTE))
    with atomic_write(path) as file:
        image.save(file, "PNG")


def write_nifti(
    path: Path, parts: Sequence[LungPart], shape: tuple[int, int], spacing: Spacing | None
) -> None:
    """Write the labels as a two-dimensional NIfTI-1 file.

    Parameters
    ----------
    path : Path
        Ends in ``.nii.gz``.
    parts : sequence of LungPart
    shape : (H, W)
    spacing : Spacing or None
        Goes into the header as mm; without it pixels are 1 of no unit.

    Notes
    -----
    The first axis runs along the rows of the image and the second down its columns. Neither qform nor sform
    is set (their codes are 0), since a film has no place in the patient.
    """
    try:
        import nibabel
    except ModuleNotFoundError as error:
        raise MissingExtraError("nibabel", "formats", "a NIfTI file") from error
    image: Any = nibabel.Nifti1Image(label_image(parts, shape).T, affine=None)
    header = image.header
    header.set_qform(None, 0)
    header.set_sform(None, 0)
    if spacing is not None:
        header.set_zooms((spacing.column, spacing.row))
        header.set_xyzt_units("mm")
    else:
        header.set_zooms((1, 1))
        header.set_xyzt_units("unknown")
    about = f"lungcls lungs; {spacing.meaning}" if spacing else "lungcls lungs; spacing unknown"
    header["descrip"] = about.encode()[:79]
    with atomic_write(path) as file:
        file.write(_gzipped(image.to_bytes()))


def coco_annotations(parts: Sequence[LungPart]) -> list[dict[str, Any]]:
    """Return each lung as a COCO annotation with a run-length encoded mask, still without ids."""
    try:
        from pycocotools import mask as coco
    except ModuleNotFoundError as error:
        raise MissingExtraError("pycocotools", "formats", "a COCO file") from error
    annotations = []
    for part in parts:
        code = coco.encode(np.asfortranarray(part.mask.astype(np.uint8)))
        annotations.append(
            {
                "category_id": LABELS[lung_name(part)],
                "iscrowd": 0,
                "area": int(coco.area(code)),
                "bbox": [float(number) for number in coco.toBbox(code)],
                "segmentation": {
                    "size": [int(number) for number in code["size"]],
                    "counts": code["counts"].decode("ascii"),
                },
            }
        )
    return annotations


def coco_document(films: Iterable[tuple[str, int, int, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Put films and their annotations together as one COCO document.

    Parameters
    ----------
    films : iterable of (path, height, width, annotations)
        Annotations from :func:`coco_annotations`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (path, height, width, masks) in enumerate(films, 1):
        images.append({"id": number, "file_name": path, "height": height, "width": width})
        for annotation in masks:
            annotations.append({"id": len(annotations) + 1, "image_id": number, **annotation})
    categories = [{"id": value, "name": name, "supercategory": "lung"} for name, value in LABELS.items()]
    return {
        "info": {"description": f"Lungs by lungcls. {NOTICE}"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _gzipped(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, mtime=0)
