from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcls.data import ClassFolders, MergedDataset, RadiographyDatabase, open_dataset, with_classes
from lungcls.errors import DataError
from lungcls.labels import CLASSES


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "own"
    for name in ("train/ill/a", "train/fine/b", "test/ill/c"):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    return root


def test_each_image_keeps_its_source(manifest_database: Path, folders: Path) -> None:
    merged = MergedDataset(
        {"radiography": RadiographyDatabase(manifest_database), "own": ClassFolders(folders)},
        per_dataset={"own": {"ill": "COVID", "fine": "Normal"}},
    )
    assert merged.classes == CLASSES
    assert len(merged.records) == 96 + 3
    first, last = merged.records[0], merged.records[-1]
    assert first.file == "radiography/COVID/images/COVID-1.png"
    assert (first.source, first.patient, first.group) == (
        "radiography/rsna",
        "radiography/COVID p0",
        "radiography/COVID g0",
    )
    assert merged.path(first) == manifest_database / "COVID/images/COVID-1.png"
    assert merged.read_mask(first).shape == (64, 64)
    assert (last.file, last.label, last.source, last.part) == ("own/train/ill/a.png", "COVID", "own", "train")
    assert merged.path(last).is_file()
    with pytest.raises(DataError, match="has no lung mask"):
        merged.read_mask(last)
    assert any("Lung_Opacity, Viral Pneumonia" in note for note in merged.notes)
    assert not merged.grouped


def test_one_mapping_for_all(manifest_database: Path, folders: Path) -> None:
    merged = MergedDataset(
        {"r": RadiographyDatabase(manifest_database), "o": ClassFolders(folders)},
        classes={"COVID": "ill", "ill": "ill", "Normal": "well", "fine": "well"},
    )
    assert merged.summary()["classes"] == {"ill": 26, "well": 25}
    assert merged.dropped == {"r: class Lung_Opacity": 24, "r: class Viral Pneumonia": 24}


def test_from_a_toml_file(manifest_database: Path, folders: Path) -> None:
    path = folders.parent / "both.toml"
    path.write_text(
        f'[datasets.big]\npath = "{manifest_database}"\nclasses = "binary"\n'
        '[datasets.own]\npath = "own"\nlayout = "folders"\nclasses = {ill = "COVID", fine = "other"}\n'
    )
    merged = open_dataset(path)
    assert isinstance(merged, MergedDataset)
    assert merged.summary()["classes"] == {"COVID": 26, "other": 73}
    path.write_text('[datasets.own]\nfolder = "own"\n')
    with pytest.raises(DataError, match=r"\[datasets\.own\] needs a line path"):
        open_dataset(path)
    path.write_text('[set.own]\npath = "own"\n')
    with pytest.raises(DataError, match=r"expected tables \[datasets\.<name>\].*found set"):
        open_dataset(path)


def test_faults(manifest_database: Path, folders: Path) -> None:
    one, two = RadiographyDatabase(manifest_database), ClassFolders(folders)
    with pytest.raises(DataError, match="at least two datasets"):
        MergedDataset({"one": one})
    with pytest.raises(DataError, match=r"without slashes; got \['a/b'\]"):
        MergedDataset({"a/b": one, "two": two})
    with pytest.raises(DataError, match=r"per_dataset names \['three'\]"):
        MergedDataset({"one": one, "two": two}, per_dataset={"three": "binary"})
    with pytest.raises(DataError, match="no image is left for the merged dataset; its classes are fine, ill"):
        MergedDataset({"one": one, "two": two}, classes={"COVID": "a", "Normal": "b"})


def test_other_classes_for_a_dataset(manifest_database: Path) -> None:
    dataset = with_classes(RadiographyDatabase(manifest_database), {"COVID": "sick", "Normal": "well"})
    assert dataset.classes == ("sick", "well")
    assert {record.label for record in dataset.records} == {"sick", "well"}
    assert dataset.dropped == {"class Lung_Opacity": 24, "class Viral Pneumonia": 24}
    with pytest.raises(DataError, match="no image is left; its classes are sick, well"):
        with_classes(dataset, {"a": "b", "c": "d"})
