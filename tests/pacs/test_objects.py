"""DICOM objects of a film: what others' programs say of them, and what comes back out of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lungcls.errors import ImageError
from lungcls.pacs.codes import KINDS, Software
from lungcls.pacs.objects import Objects, checked_kinds, make_objects
from lungcls.pacs.source import checked_header, read_header
from lungcls.pacs.sr import Findings
from lungcls.quality import Reason

FINDINGS = Findings(
    reasons=(Reason("tilted", 34.2, 30.0, "one lung lies 34 degrees above the other"),),
    label="COVID",
    probabilities={"COVID": 0.7, "Lung_Opacity": 0.1, "Normal": 0.15, "Viral Pneumonia": 0.05},
    conformal_set=("COVID", "Normal"),
    coverage=0.9,
    region="mask",
)
PLACE = {
    "FrameOfReferenceUID": "1.2.3.4.5",
    "ImagePositionPatient": [-100.0, 0.0, 120.0],
    "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.0, -1.0],
    "PixelSpacing": [0.175, 0.175],
    "SliceThickness": 1.0,  # dciodvfy asks for it wherever there is a position
}
SPACINGS: tuple[dict[str, Any], ...] = (
    {},
    {"ImagerPixelSpacing": [0.15, 0.15], "EstimatedRadiographicMagnificationFactor": 1.1},
    {
        "ImagerPixelSpacing": [0.2, 0.1],
        "PixelSpacing": [0.18, 0.09],
        "PixelSpacingCalibrationType": "GEOMETRY",
    },
)
DX_TAGS = {"PresentationIntentType": "FOR PRESENTATION", "ImageLaterality": "U"}


LOSSY = {
    "LossyImageCompression": "01",
    "LossyImageCompressionRatio": 12,
    "LossyImageCompressionMethod": "ISO_10918_1",
}
WINDOW = {
    "WindowCenter": 100,
    "WindowWidth": 200,
    "RescaleSlope": 1,
    "RescaleIntercept": 0,
    "RescaleType": "US",
}


def variants() -> list[dict[str, Any]]:
    """What differs between makers, each with every other: 324 films."""
    films = []
    for sop_class, place, spacing, orientation, mirrored, bits in itertools.product(
        ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7"),
        ({}, {"FrameOfReferenceUID": "1.2.3.4.5"}, PLACE),
        SPACINGS,
        (["L", "F"], None),
        (False, True),
        (8, 12, 16),
    ):
        number = len(films)
        extra = DX_TAGS if sop_class.endswith("1.1.1.1") else {}
        # These are dealt out instead of multiplied: syntax, what is missing, what the pixels went through.
        missing = [
            {},
            {"PatientID": None, "PatientBirthDate": None},
            {"StudyID": None, "AccessionNumber": None, "ReferringPhysicianName": None},
            {"StudyDate": None, "StudyTime": None, "PatientSex": None, "PatientName": None},
            {"BodyPartExamined": None, "Manufacturer": None},
        ][number % 5]
        history = [
            {},
            LOSSY,
            WINDOW,
        ][number % 3]
        films.append(
            {
                "sop_class": sop_class,
                "bits": bits,
                "mirrored": mirrored,
                "syntax": (ExplicitVRLittleEndian, ImplicitVRLittleEndian)[number % 2],
                "PatientOrientation": orientation,
                **spacing,
                **place,
                **missing,
                **history,
                **extra,
            }
        )
    return films


@pytest.fixture(scope="module")
def made(
    phantom: Any, film: Callable[..., Dataset], encoded: Any, software: Software
) -> Callable[..., Objects]:
    def make(kinds: tuple[str, ...] = KINDS, findings: Findings = FINDINGS, **options: Any) -> Objects:
        header = read_header(encoded(film(**options)))
        return make_objects(header, phantom.mask, phantom.image, findings, software, kinds)

    return make


def written(objects: Objects, folder: Path) -> dict[str, Path]:
    paths = {}
    for kind, dataset in objects.datasets.items():
        paths[str(kind)] = folder / f"{dataset.SOPInstanceUID}.{kind}.dcm"
        dataset.save_as(paths[str(kind)], enforce_file_format=True)
    return paths


def assert_lawful(tool: Callable[..., str], paths: list[Path]) -> None:
    for path in paths:
        text = tool("dciodvfy", path, check=False)
        errors = [line for line in text.splitlines() if line.startswith("Error")]
        assert not errors, (path.name, errors)


@pytest.mark.parametrize("number", range(0, 324, 54))
def test_dciodvfy_has_no_error_on_some_variants(
    number: int, made: Callable[..., Objects], tmp_path: Path, tool: Callable[..., str]
) -> None:
    options = variants()[number + number // 54]
    assert_lawful(tool, list(written(made(**options), tmp_path).values()))


@pytest.mark.slow
def test_dciodvfy_has_no_error_on_all_variants_and_masks_come_back_whole(
    made: Callable[..., Objects], tmp_path: Path, tool: Callable[..., str], phantom: Any
) -> None:
    films = variants()
    assert len(films) >= 200
    for options in films:
        paths = written(made(**options), tmp_path)
        assert set(paths) == set(KINDS)
        assert_lawful(tool, list(paths.values()))
        frames = pydicom.dcmread(paths["seg"]).pixel_array.astype(bool)
        assert (frames.any(axis=0) == phantom.mask).all()


def test_masks_come_back_pixel_for_pixel(made: Callable[..., Objects], phantom: Any, tmp_path: Path) -> None:
    path = written(made(("seg",)), tmp_path)["seg"]
    seg = highdicom.seg.segread(path)
    right, left = np.moveaxis(
        seg.get_pixels_by_source_instance([seg.get_source_image_uids()[0][2]])[0], -1, 0
    )
    assert ((right | left).astype(bool) == phantom.mask).all()
    assert not (right & left).any()
    middle = phantom.mask.shape[1] // 2
    assert right[:, middle:].sum() == 0
    assert [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in seg.SegmentSequence] == [
        "3341006",
        "44029006",
    ]


def test_a_mirrored_copy_has_its_lungs_on_the_patients_sides_in_every_object(
    film_of: Callable[..., Dataset], phantom: Any, software: Software
) -> None:
    pixels, mask = (np.ascontiguousarray(plane[:, ::-1]) for plane in (phantom.image, phantom.mask))
    header = checked_header(film_of(pixels, PatientOrientation=["R", "F"]), "film")
    made = make_objects(header, mask, pixels, FINDINGS, software, KINDS)
    seg = made.datasets["seg"]
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["Right lung", "Left lung"]
    right, left = (np.nonzero(plane)[1].mean() for plane in seg.pixel_array)
    assert left < right
    for annotation, name in zip(made.datasets["gsps"].GraphicAnnotationSequence, ("Right", "Left")):
        assert annotation.TextObjectSequence[0].UnformattedTextValue == f"{name} lung"
        points = np.reshape(annotation.GraphicObjectSequence[0].GraphicData, (-1, 2))
        assert (points[:, 0].mean() > mask.shape[1] / 2) == (name == "Right")
    picture = made.datasets["sc"].pixel_array[: mask.shape[0]].astype(int)
    blue = np.nonzero(picture[..., 2] - picture[..., 0] > 60)[1].mean()
    orange = np.nonzero(picture[..., 0] - picture[..., 2] > 60)[1].mean()
    assert orange < blue  # the left lung is orange


def test_lungs_that_touch_are_separated_and_every_object_says_so(
    film: Callable[..., Dataset], phantom: Any, software: Software, tmp_path: Path, tool: Callable[..., str]
) -> None:
    mask = phantom.mask.copy()
    mask[100:106, 60:140] = True
    header = checked_header(film(), "film")
    made = make_objects(header, mask, phantom.image, FINDINGS, software, KINDS)
    said = "the two lungs touch in rows 100 to 105 and are separated where they touch least"
    assert made.notes == (said,)
    seg = made.datasets["seg"]
    assert [segment.SegmentDescription for segment in seg.SegmentSequence] == [said.capitalize()] * 2
    assert (seg.pixel_array.astype(bool).any(axis=0) == mask).all()
    assert_lawful(tool, list(written(made, tmp_path).values()))
    assert said in tool("dsrdump", "+Pl", written(made, tmp_path)["sr"])


def test_a_film_without_a_place_gets_none(made: Callable[..., Objects]) -> None:
    seg = made(("seg",)).datasets["seg"]
    assert "FrameOfReferenceUID" not in seg
    text = str(seg)
    for keyword in ("Image Position (Patient)", "Image Orientation (Patient)", "Pixel Spacing"):
        assert keyword not in text


def test_the_plane_that_viewers_need_is_written_where_it_is_asked_for_and_said(
    film: Callable[..., Dataset], phantom: Any, software: Software, tmp_path: Path, tool: Callable[..., str]
) -> None:
    header = checked_header(film(), "film")
    plain = make_objects(header, phantom.mask, phantom.image, FINDINGS, software)
    made = make_objects(header, phantom.mask, phantom.image, FINDINGS, software, viewer_plane=True)
    shared = made.datasets["seg"].SharedFunctionalGroupsSequence[0]
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    assert "PixelSpacing" not in shared.PixelMeasuresSequence[0]
    assert "FrameOfReferenceUID" not in made.datasets["seg"]
    assert "nominal plane for viewers" in made.notes[0]
    assert made.datasets["seg"].SOPInstanceUID != plain.datasets["seg"].SOPInstanceUID
    assert_lawful(tool, list(written(made, tmp_path).values()))


def test_a_film_with_a_place_keeps_it(made: Callable[..., Objects]) -> None:
    seg = made(("seg",), **PLACE).datasets["seg"]
    assert seg.FrameOfReferenceUID == "1.2.3.4.5"
    frame = seg.PerFrameFunctionalGroupsSequence[0]
    assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == PLACE["ImagePositionPatient"]
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert list(orientation) == PLACE["ImageOrientationPatient"]
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.175, 0.175]
    assert "SpacingBetweenSlices" not in shared.PixelMeasuresSequence[0]


def test_a_place_without_thickness_is_given_none(made: Callable[..., Objects]) -> None:
    place = {keyword: value for keyword, value in PLACE.items() if keyword != "SliceThickness"}
    seg = made(("seg",), **place).datasets["seg"]
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [element.keyword for element in measures] == ["PixelSpacing"]


def test_spacing_at_the_detector_does_not_become_spacing_in_the_patient(made: Callable[..., Objects]) -> None:
    seg = made(("seg",), ImagerPixelSpacing=[0.1, 0.1]).datasets["seg"]
    assert "PixelMeasuresSequence" not in seg.SharedFunctionalGroupsSequence[0]


def test_study_patient_history_and_references_are_taken_over(
    film: Callable[..., Dataset], phantom: Any, software: Software
) -> None:
    source = film(**LOSSY)
    header = checked_header(source, "film")
    objects = make_objects(header, phantom.mask, phantom.image, FINDINGS, software, KINDS)
    for kind, dataset in objects.datasets.items():
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "StudyDate"):
            assert dataset[keyword].value == source[keyword].value, (kind, keyword)
        assert source.SOPInstanceUID in str(dataset), kind
        assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    seg = objects.datasets["seg"]
    assert seg.LossyImageCompression == objects.datasets["sc"].LossyImageCompression == "01"
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmVersion == "1.2.3"
    assert "a" * 64 in algorithm.AlgorithmParameters


def test_the_same_result_is_the_same_object_and_another_is_another(
    film: Callable[..., Dataset], phantom: Any, software: Software
) -> None:
    header = checked_header(film(), "film")

    def uids(mask: np.ndarray, findings: Findings = FINDINGS) -> list[str]:
        made = make_objects(header, mask, phantom.image, findings, software, ("seg", "sr"))
        return [str(dataset.SOPInstanceUID) for dataset in made.datasets.values()]

    first = uids(phantom.mask)
    assert uids(phantom.mask) == first
    smaller = phantom.mask.copy()
    smaller[:60] = False
    assert not set(uids(smaller)) & set(first)
    assert not set(uids(phantom.mask, Findings())) & set(first)


def test_the_report_says_all_that_was_found(
    made: Callable[..., Objects], tmp_path: Path, tool: Callable[..., str], phantom: Any
) -> None:
    objects = made(ImagerPixelSpacing=[0.2, 0.1], EstimatedRadiographicMagnificationFactor=1.1)
    path = written(objects, tmp_path)["sr"]
    text = tool("dsrdump", "+Pl", path)
    assert "Warning" not in text
    for words in (
        'Calibrated probability of Viral Pneumonia")="0.05"',
        'Most probable class")=',
        'Class not ruled out at this coverage")=',
        "Coverage of the conformal set",
        "tilted: one lung lies 34 degrees above the other (measured 34.2, limit 30)",
        "not corrected for magnification: the file estimates a factor of 1.1",
        "never use it for diagnosis",
        "sha256=" + "b" * 64,
        "sha256=" + "a" * 64,
    ):
        assert words in text, words
    area = float(re.search(r'"Area"\)="([\d.]+)" \(mm2', text)[1])  # type: ignore[index]
    right = phantom.mask[:, : phantom.mask.shape[1] // 2].sum()
    assert area == pytest.approx(right * 0.02, abs=0.01)
    sr = objects.datasets["sr"]
    evidence = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert len(evidence) == 2  # the film and the segmentation
    assert sr.VerificationFlag == "UNVERIFIED"


def test_without_spacing_there_is_no_area_in_millimetres(
    made: Callable[..., Objects], tmp_path: Path, tool: Callable[..., str]
) -> None:
    text = tool("dsrdump", "+Pl", written(made(("sr",)), tmp_path)["sr"])
    assert "mm2" not in text
    assert "Area in pixels" in text


def test_outlines_lie_on_the_edge_of_the_mask(made: Callable[..., Objects], phantom: Any) -> None:
    state = made(("gsps",)).datasets["gsps"]
    for annotation in state.GraphicAnnotationSequence[:2]:
        line = np.reshape(annotation.GraphicObjectSequence[0].GraphicData, (-1, 2))
        inner, outer = phantom.mask, ~phantom.mask
        for x, y in line:
            rows = slice(max(0, int(y - 1.5)), int(y + 2.5))
            columns = slice(max(0, int(x - 1.5)), int(x + 2.5))
            assert inner[rows, columns].any(), (x, y)
            assert outer[rows, columns].any(), (x, y)


def test_a_mirrored_film_is_shown_mirrored_by_the_presentation_state(made: Callable[..., Objects]) -> None:
    assert made(("gsps",), mirrored=True).datasets["gsps"].PresentationLUTShape == "INVERSE"
    assert made(("gsps",)).datasets["gsps"].PresentationLUTShape == "IDENTITY"


def test_pixels_that_are_not_square_are_shown_so(made: Callable[..., Objects]) -> None:
    area = made(("gsps",), ImagerPixelSpacing=[0.2, 0.1]).datasets["gsps"].DisplayedAreaSelectionSequence[0]
    assert list(area.PresentationPixelAspectRatio) == [20000, 10000]


def test_the_picture_shows_outlines_letters_and_notice(made: Callable[..., Objects], phantom: Any) -> None:
    picture = made(("sc",)).datasets["sc"].pixel_array
    height = phantom.mask.shape[0]
    assert picture.shape[0] > height
    film = picture[:height].astype(int)
    coloured = (film.max(axis=2) - film.min(axis=2)) > 60
    blue, orange = film[..., 2] > film[..., 0], film[..., 0] > film[..., 2]
    middle = phantom.mask.shape[1] // 2
    assert (coloured & blue)[:, :middle].any()
    assert not (coloured & blue)[:, middle:].any()
    assert (coloured & orange)[:, middle:].any()
    assert picture[height:].max() == 255  # the text


def test_an_empty_mask_leaves_out_what_needs_lungs_and_says_so(
    film: Callable[..., Dataset], phantom: Any, software: Software
) -> None:
    header = checked_header(film(), "film")
    made = make_objects(header, phantom.mask & False, phantom.image, FINDINGS, software, KINDS)
    assert set(made.datasets) == {"sr", "sc"}
    assert made.notes == ("no lungs were found, so no seg and gsps",)


def test_a_mask_of_another_size_is_refused(
    film: Callable[..., Dataset], phantom: Any, software: Software
) -> None:
    header = checked_header(film(), "film")
    with pytest.raises(ImageError, match="at the film's own size"):
        make_objects(header, phantom.mask[:-1], phantom.image, FINDINGS, software)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="rtstruct; expected some of seg, sr, gsps, sc"):
        checked_kinds(["seg", "rtstruct"])


def test_dcmqi_reads_a_segmentation_that_has_a_place(
    made: Callable[..., Objects], tmp_path: Path, tool: Callable[..., str], phantom: Any
) -> None:
    path = written(made(("seg",), **PLACE), tmp_path)["seg"]
    tool("segimage2itkimage", "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nii", "-p", "lung")
    nibabel = pytest.importorskip("nibabel")
    images = [np.asarray(nibabel.load(tmp_path / f"lung-{n}.nii.gz").dataobj).squeeze() for n in (1, 2)]
    both = (images[0] > 0) | (images[1] > 0)
    turned = [both.T, both.T[::-1], both.T[:, ::-1], both.T[::-1, ::-1]]
    dice = max(2 * (one & phantom.mask).sum() / (one.sum() + phantom.mask.sum()) for one in turned)
    assert dice == 1.0


def test_dcmqi_and_dcmtk_read_all_objects(
    made: Callable[..., Objects], tmp_path: Path, tool: Callable[..., str]
) -> None:
    paths = written(made(), tmp_path)
    for path in paths.values():
        assert "Muster^Erika" in tool("dcmdump", path)
    tool("tid1500reader", "--inputDICOM", paths["sr"], "--outputMetadata", tmp_path / "sr.json")
    assert "Right lung" in (tmp_path / "sr.json").read_text()


def test_names_of_any_script_and_unlawful_texts_are_taken_over_unchanged_and_unspoken(
    film: Callable[..., Dataset],
    phantom: Any,
    software: Software,
    tmp_path: Path,
    encoded: Any,
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = film(PatientName="Wang^XiaoDong=王^小東", SpecificCharacterSet="ISO_IR 192", StudyID="S1")
    source[pydicom.tag.Tag("PatientID")] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag("PatientID"), "LO", 70, b"7" * 70, 0, False, True
    )
    header = read_header(encoded(source))
    made = make_objects(header, phantom.mask, phantom.image, FINDINGS, software, KINDS)
    for path in written(made, tmp_path).values():
        back = pydicom.dcmread(path)
        assert str(back.PatientName) == "Wang^XiaoDong=王^小東"
        assert back.PatientID == "7" * 70
    said = caplog.text + "".join(str(warning.message) for warning in recwarn.list)
    assert "Wang" not in said
    assert "777" not in said
