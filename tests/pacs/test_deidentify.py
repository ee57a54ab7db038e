"""What leaves without its patient: nothing of it in any byte, and the list beside the standard's."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from lungcls.errors import ImageError, OptionError
from lungcls.pacs.codes import KINDS
from lungcls.pacs.deidentify import KEPT, UIDS, Deidentifier
from lungcls.pacs.objects import make_objects
from lungcls.pacs.source import checked_header
from lungcls.pacs.sr import Findings

KEY = b"k" * 32
SECRETS = ("Muster", "Erika", "P-0815", "19640812", "20240102", "Haus", "Gregor", "Charite", "geheim")


@pytest.fixture
def source(film: Callable[..., Dataset]) -> Dataset:
    data = film(InstitutionName="Charite", PatientComments="geheim", PatientAge="059Y", StationName="geheim")
    data.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "geheim Muster")
    data.add_new(0x60003000, "OW", b"Muster00")
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "51185008", "SCT", "Chest"
    item.PersonName = "Muster^Erika"
    data.AnatomicRegionSequence = [item]
    return data


def test_no_byte_of_the_patient_is_left(source: Dataset, encoded: Callable[[Dataset], bytes]) -> None:
    film = Deidentifier(KEY).film(source, "film")
    data = encoded(film)
    for text in (*SECRETS, source.StudyInstanceUID, source.SOPInstanceUID):
        assert text.encode() not in data, text
    assert film.PixelData == source.PixelData
    assert film.PatientIdentityRemoved == "YES"
    assert film.DeidentificationMethod[0] == "lungcls keep-list 1"
    assert film.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert film.AnatomicRegionSequence[0].CodeMeaning == "Chest"


def test_no_byte_of_the_patient_is_in_the_results(
    source: Dataset, phantom: Any, software: Any, tmp_path: Path
) -> None:
    film = Deidentifier(KEY).film(source, "film")
    header = checked_header(film, "film")
    for kind, dataset in make_objects(
        header, phantom.mask, phantom.image, Findings(), software, KINDS
    ).datasets.items():
        dataset.save_as(tmp_path / kind, enforce_file_format=True)
        data = (tmp_path / kind).read_bytes()
        for text in (*SECRETS, source.StudyInstanceUID, source.SOPInstanceUID):
            assert text.encode() not in data, (kind, text)
        assert dataset.StudyInstanceUID == film.StudyInstanceUID
        assert dataset.PatientIdentityRemoved == "YES"


def test_images_of_a_patient_stay_together_and_only_the_key_tells_how(film: Callable[..., Dataset]) -> None:
    one, two, other = film(), film(), film(PatientID="P-9")
    two.StudyInstanceUID = one.StudyInstanceUID
    mine, yours = Deidentifier(KEY), Deidentifier(b"y" * 32)
    first, second, third = (mine.film(data, "film") for data in (one, two, other))
    assert first.PatientID == second.PatientID != third.PatientID
    assert first.StudyInstanceUID == second.StudyInstanceUID != third.StudyInstanceUID
    assert yours.film(one, "film").PatientID != first.PatientID
    assert mine.film(film(PatientID=""), "film").PatientID == ""


def test_what_is_kept_besides_is_named(source: Dataset) -> None:
    film = Deidentifier(KEY, ["PatientAge"]).film(source, "film")
    assert film.PatientAge == "059Y"
    assert "kept besides: PatientAge" in film.DeidentificationMethod
    assert "DeidentificationMethodCodeSequence" not in film  # no longer the whole profile
    for keyword in ("PatientName", "PatientsAge"):
        with pytest.raises(OptionError, match=keyword):
            Deidentifier(KEY, [keyword])


def test_the_list_keeps_nothing_that_the_standard_takes_away() -> None:
    fields = pytest.importorskip("dicomanonymizer.dicom_anonymization_databases.dicomfields_2024b")
    taken = {
        tag
        for name in dir(fields)
        if name.endswith("_TAGS") and name != "U_TAGS"
        for tag in getattr(fields, name)
        if len(tag) == 2
    }
    assert len(taken) > 300
    kept = {keyword: tag_for_keyword(keyword) for keyword in KEPT - UIDS}
    assert [keyword for keyword, tag in kept.items() if (tag >> 16, tag & 0xFFFF) in taken] == []


def test_text_in_the_pixels_is_refused_and_so_is_what_is_no_film(film: Callable[..., Dataset]) -> None:
    with pytest.raises(ImageError, match="BurnedInAnnotation YES"):
        Deidentifier(KEY).film(film(BurnedInAnnotation="YES"), "film")
    with pytest.raises(ImageError, match="expected a film"):
        Deidentifier(KEY).film(film(sop_class="1.2.840.10008.5.1.4.1.1.88.33"), "film")


def test_the_key_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    first = Deidentifier.from_file(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert Deidentifier.from_file(tmp_path / "key").uid("1.2.3") == first.uid("1.2.3")
    assert first.uid("1.2.3").is_valid
    (tmp_path / "key").write_text("short")
    with pytest.raises(OptionError, match="expected at least 16"):
        Deidentifier.from_file(tmp_path / "key")


def test_the_file_stays_readable(
    source: Dataset, encoded: Callable[[Dataset], bytes], tmp_path: Path
) -> None:
    (tmp_path / "film.dcm").write_bytes(encoded(Deidentifier(KEY).film(source, "film")))
    assert (pydicom.dcmread(tmp_path / "film.dcm").pixel_array == source.pixel_array).all()
