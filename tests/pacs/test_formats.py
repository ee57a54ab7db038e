"""NIfTI, COCO, label PNG and the table of measurements, read back by others' libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungcls.pacs.formats import LABELS, coco_annotations, coco_document, write_label_png, write_nifti
from lungcls.pacs.measurements import COLUMNS, head_is_up, measure
from lungcls.pacs.sides import LungPart, PatientAxis, lung_parts
from lungcls.pacs.source import Spacing

AXIS = PatientAxis(1, 1)
SPACING = Spacing(0.2, 0.1, "at the detector", "ImagerPixelSpacing")


@pytest.fixture(scope="module")
def parts(phantom: Any) -> tuple[LungPart, ...]:
    return lung_parts(phantom.mask, AXIS)


@pytest.mark.parametrize("spacing", [None, SPACING])
def test_nifti_holds_labels_and_spacing_and_no_place(
    parts: tuple[LungPart, ...], phantom: Any, tmp_path: Path, spacing: Spacing | None
) -> None:
    nibabel = pytest.importorskip("nibabel")
    write_nifti(tmp_path / "lungs.nii.gz", parts, phantom.mask.shape, spacing)
    image = nibabel.load(tmp_path / "lungs.nii.gz")
    values = np.asarray(image.dataobj).T
    assert ((values > 0) == phantom.mask).all()
    assert (values[parts[0].mask] == LABELS["right_lung"]).all()
    assert image.header.get_zooms() == pytest.approx((0.1, 0.2) if spacing else (1, 1))
    assert image.header.get_xyzt_units()[0] == ("mm" if spacing else "unknown")
    assert (image.header["qform_code"], image.header["sform_code"]) == (0, 0)
    assert values.ndim == 2


def test_coco_masks_come_back(parts: tuple[LungPart, ...], phantom: Any, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    height, width = phantom.mask.shape
    document = coco_document([("a.dcm", height, width, coco_annotations(parts)), ("b.dcm", 4, 4, [])])
    (tmp_path / "coco.json").write_text(__import__("json").dumps(document))
    dataset = coco.COCO(str(tmp_path / "coco.json"))
    annotations = dataset.loadAnns(dataset.getAnnIds(imgIds=[1]))
    whole = sum(dataset.annToMask(annotation) for annotation in annotations)
    assert (whole == phantom.mask).all()
    assert len(dataset.getImgIds()) == 2
    names = [dataset.loadCats(annotation["category_id"])[0]["name"] for annotation in annotations]
    assert names == ["right_lung", "left_lung"]


def test_the_label_png_is_of_the_films_size(
    parts: tuple[LungPart, ...], phantom: Any, tmp_path: Path
) -> None:
    write_label_png(tmp_path / "lungs.png", parts, phantom.mask.shape)
    values = np.asarray(Image.open(tmp_path / "lungs.png"))
    assert set(np.unique(values)) == {0, 1, 2}
    assert ((values > 0) == phantom.mask).all()


def test_measurements_of_what_is_known_by_hand() -> None:
    mask = np.zeros((100, 100), bool)
    mask[10:70, 10:30] = True  # 60 x 20
    mask[10:40, 60:80] = True  # 30 x 20
    pixels = np.full((100, 100), 0.25, np.float32)
    pixels[:, 60:] = 0.75
    rows = measure(lung_parts(mask, AXIS), pixels, SPACING)
    assert set(rows[0]) == set(COLUMNS) - {"path"}
    by_name = {(row["lung"], row["zone"]): row for row in rows}
    right, left = by_name["right_lung", "whole"], by_name["left_lung", "whole"]
    assert (right["area_px"], left["area_px"]) == (1200, 600)
    assert right["area_mm2"] == pytest.approx(24.0)
    assert right["mm2_from"] == "ImagerPixelSpacing, at the detector"
    assert (right["ratio_to_other"], left["ratio_to_other"]) == (2.0, 0.5)
    assert right["share_of_lungs"] == pytest.approx(2 / 3)
    assert (right["mean_grey"], left["mean_grey"]) == (0.25, 0.75)
    assert (right["x0"], right["y0"], right["x1"], right["y1"]) == (10, 10, 30, 70)
    assert [by_name["right_lung", zone]["area_px"] for zone in ("upper", "middle", "lower")] == [
        400,
        400,
        400,
    ]
    assert by_name["right_lung", "upper"]["y0"] == 10


def test_zones_follow_the_patient_not_the_image() -> None:
    from pydicom.dataset import Dataset

    header = Dataset()
    assert head_is_up(header) is True
    header.PatientOrientation = ["R", "H"]
    assert head_is_up(header) is False
    header.PatientOrientation = ["F", "L"]
    assert head_is_up(header) is None
    mask = np.zeros((90, 60), bool)
    mask[0:90, 10:20] = mask[0:90, 40:50] = True
    turned = measure(lung_parts(mask, AXIS), np.zeros((90, 60), np.float32), None, False)
    assert next(row for row in turned if row["zone"] == "upper")["y0"] == 60
    assert {
        row["zone"] for row in measure(lung_parts(mask, AXIS), np.zeros((90, 60), np.float32), None, None)
    } == {"whole"}
