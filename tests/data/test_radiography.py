from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcls.data import RadiographyDatabase
from lungcls.data.masks import read_mask
from lungcls.errors import DataError
from lungcls.labels import CLASSES
from lungcls.phantom import chest_phantom
from lungcls.regions import resize_mask


def _rewrite(manifest: Path, old: str, new: str) -> None:
    text = manifest.read_text(encoding="utf-8")
    assert old in text
    manifest.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_original_layout(original_database: Path) -> None:
    database = RadiographyDatabase(original_database)
    assert [record.file for record in database.records] == [
        f"{label}/images/{label}-{number}.png" for label in CLASSES for number in (1, 2)
    ]
    assert [record.label for record in database.records] == [label for label in CLASSES for _ in range(2)]
    sources = {record.label: record.source for record in database.records}
    assert (sources["Lung_Opacity"], sources["Normal"], sources["Viral Pneumonia"]) == (
        "rsna",
        "rsna",
        "kermany",
    )
    assert sources["COVID"].startswith("https://sirm.org")
    assert not database.missing_masks + database.missing_files + database.orphan_masks
    record = database.records[3]
    assert database.path(record) == original_database / record.file
    # Masks are RGB and of another size than their images.
    with Image.open(database.mask_path(record)) as mask, Image.open(database.path(record)) as image:
        assert (mask.mode, mask.size, image.size) == ("RGB", (256, 256), (299, 299))
    truth = chest_phantom(299, seed=12).mask
    read = database.read_mask(record)
    assert (read.shape, read.dtype) == ((256, 256), np.bool_)
    assert (resize_mask(read, (299, 299)) != truth).mean() < 0.02


def test_manifest_layout(manifest_database: Path) -> None:
    database = RadiographyDatabase(str(manifest_database))
    assert len(database.records) == 96
    first = database.records[1]
    assert first.file == "COVID/images/COVID-2.png"
    assert (first.label, first.mask) == ("COVID", "COVID/masks/COVID-2.png")
    assert (first.source, first.patient, first.group, first.processing) == (
        "rsna",
        "COVID p1",
        "COVID g1",
        "a",
    )
    assert database.missing_masks == [f"{label}/images/{label}-24.png" for label in CLASSES]
    summary = database.summary()
    assert summary["images"] == 96
    assert summary["with_mask"] == 92
    assert summary["classes"] == dict.fromkeys(CLASSES, 24)
    assert summary["classes_with_mask"] == dict.fromkeys(CLASSES, 23)
    assert summary["sources"]["Viral Pneumonia/kermany"] == 24
    assert summary["groups"] == 4 * 13


def test_images_are_numbered_as_people_count(original_database: Path) -> None:
    folder = original_database / "COVID" / "images"
    shutil.copy(folder / "COVID-1.png", folder / "COVID-10.png")
    files = [
        record.file for record in RadiographyDatabase(original_database).records if record.label == "COVID"
    ]
    assert [file.split("-")[1] for file in files] == ["1.png", "2.png", "10.png"]


def test_missing_masks_and_orphans_are_reported_and_not_fatal(
    original_database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (original_database / "COVID" / "masks" / "COVID-2.png").unlink()
    (original_database / "Normal" / "images" / "Normal-1.png").unlink()
    shutil.rmtree(original_database / "Viral Pneumonia" / "masks")
    with caplog.at_level(logging.INFO, "lungcls"):
        database = RadiographyDatabase(original_database)
    assert database.missing_masks == [
        "COVID/images/COVID-2.png",
        "Viral Pneumonia/images/Viral Pneumonia-1.png",
        "Viral Pneumonia/images/Viral Pneumonia-2.png",
    ]
    assert database.orphan_masks == ["Normal/masks/Normal-1.png"]
    assert "3 images without a mask" in caplog.text
    assert "1 masks without an image" in caplog.text
    summary = database.summary()
    assert (summary["images"], summary["with_mask"], summary["orphan_masks"]) == (7, 4, 1)
    with pytest.raises(DataError, match=r"COVID-2\.png has no lung mask"):
        database.read_mask(next(record for record in database.records if not record.mask))


def test_files_that_the_manifest_names_and_the_folder_lacks(manifest_database: Path) -> None:
    (manifest_database / "COVID/images/COVID-1.png").unlink()
    (manifest_database / "Normal/masks/Normal-3.png").unlink()
    _rewrite(manifest_database / "manifest.csv", "Normal/masks/Normal-4.png", "")
    database = RadiographyDatabase(manifest_database)
    assert len(database.records) == 95
    assert database.missing_files == ["COVID/images/COVID-1.png", "Normal/masks/Normal-3.png"]
    assert database.orphan_masks == ["Normal/masks/Normal-4.png"]
    assert {"Normal/images/Normal-3.png", "Normal/images/Normal-4.png"} <= set(database.missing_masks)
    assert database.summary()["missing_files"] == 2


def test_only_file_and_label_are_needed(manifest_database: Path) -> None:
    (manifest_database / "manifest.csv").write_text("label,file,extra\nNormal,Normal/images/Normal-1.png,x\n")
    (record,) = RadiographyDatabase(manifest_database).records
    assert (record.mask, record.source, record.patient, record.group) == ("", "", "", "")


def test_linked_folders_are_entered(manifest_database: Path, tmp_path: Path) -> None:
    """A dataset is often put together from links to where there was room."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in manifest_database.iterdir():
        (linked / path.name).symlink_to(path)
    database = RadiographyDatabase(linked)
    assert (len(database.records), database.missing_files) == (96, [])


@pytest.mark.parametrize("entries", [[], ["data"], ["COVID/masks"]])
def test_a_wrong_folder_says_what_was_expected(tmp_path: Path, entries: list[str]) -> None:
    for entry in entries:
        (tmp_path / "wrong" / entry).mkdir(parents=True)
    (tmp_path / "wrong").mkdir(exist_ok=True)
    found = entries[0].split("/")[0] if entries else "nothing"
    with pytest.raises(
        DataError, match=rf"wrong is not a copy .*it holds {found}\. Expected a manifest\.csv .*COVID/images"
    ):
        RadiographyDatabase(tmp_path / "wrong")


def test_no_folder_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is not a folder"):
        RadiographyDatabase(tmp_path / "nowhere")
    (tmp_path / "COVID" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match="no image was found"):
        RadiographyDatabase(tmp_path)


def test_a_wrong_manifest_says_what_was_expected(manifest_database: Path) -> None:
    manifest = manifest_database / "manifest.csv"
    _rewrite(manifest, "COVID/images/COVID-2.png,COVID", "COVID/images/COVID-2.png,Covid ")
    assert RadiographyDatabase(manifest_database).records[1].label == "COVID"  # case and blanks do not count
    _rewrite(manifest, "COVID/images/COVID-2.png,Covid ", "COVID/images/COVID-2.png,Flu")
    with pytest.raises(DataError, match=r"manifest\.csv, row 3: label 'Flu'; expected one of"):
        RadiographyDatabase(manifest_database)
    manifest.write_text("path,class\na.png,COVID\n")
    with pytest.raises(DataError, match=r"columns of manifest\.csv are \['path', 'class'\]"):
        RadiographyDatabase(manifest_database)
    manifest.write_text("")
    with pytest.raises(DataError, match=r"columns of manifest\.csv are \[\]"):
        RadiographyDatabase(manifest_database)


def test_metadata_are_a_help_and_no_need(original_database: Path, caplog: pytest.LogCaptureFixture) -> None:
    (original_database / "COVID.metadata.xlsx").unlink()
    (original_database / "Normal.metadata.xlsx").write_bytes(b"PK no workbook")
    database = RadiographyDatabase(original_database)
    sources = {record.label: record.source for record in database.records}
    assert (sources["COVID"], sources["Normal"], sources["Lung_Opacity"]) == ("", "", "rsna")
    assert "Normal.metadata.xlsx is not readable" in caplog.text


def test_metadata_with_other_columns_are_an_error(original_database: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    workbook = openpyxl.Workbook()
    workbook.active.append(["name", "link"])
    workbook.save(original_database / "COVID.metadata.xlsx")
    with pytest.raises(
        DataError, match=r"COVID\.metadata\.xlsx: the columns are \['NAME', 'LINK'\]; expected"
    ):
        RadiographyDatabase(original_database)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "I;16"])
def test_masks_of_any_mode(tmp_path: Path, mode: str) -> None:
    mask = chest_phantom(64, seed=2).mask
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    if mode == "I;16":
        picture = Image.fromarray(mask.astype(np.uint16) * 65535)
    picture.convert(mode).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), mask)


def test_a_mask_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    for name in ("mask.png", "nowhere.png"):
        with pytest.raises(DataError, match=rf"{name}: not readable as a lung mask"):
            read_mask(tmp_path / name)


def test_real_manifest(real_data: Path) -> None:
    database = RadiographyDatabase(real_data / "radiography")
    assert not database.missing_files + database.orphan_masks
    assert set(database.summary()["classes"]) == set(CLASSES)
    assert min(database.summary()["classes_with_mask"].values()) > 0
    record = next(record for record in database.records if record.mask)
    assert 0.05 < database.read_mask(record).mean() < 0.6


@pytest.mark.parametrize(
    "row",
    ["img\\a.png,COVID", "./img/a.png,COVID", "IMG/A.png, covid", "/elsewhere/set/img/a.png,COVID"],
)
def test_manifests_as_programs_write_them(tmp_path: Path, row: str) -> None:
    (tmp_path / "img").mkdir()
    for name in "ab":
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "img" / f"{name}.png")
    for text in (f"File,label\n{row}\n", f"file;label\r\n{row.replace(',', ';')}\r\n"):
        (tmp_path / "manifest.csv").write_text(text)
        database = RadiographyDatabase(tmp_path)
        assert [(r.file, r.label) for r in database.records] == [("img/a.png", "COVID")]
        assert database.dropped == {"not named in manifest.csv": 1}
    (tmp_path / "manifest.csv").write_text("file,label\nfilms/c.png,COVID\n")
    with pytest.raises(DataError, match=r"none of the 1 files that it names is there, such as films/c\.png"):
        RadiographyDatabase(tmp_path)
