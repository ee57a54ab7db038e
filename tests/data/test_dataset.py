"""What every dataset can do, and a kind of one's own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcls.data import LAYOUTS, ClassFolders, Dataset, RadiographyDatabase, Record, open_dataset, register
from lungcls.errors import DataError


def test_length_items_iteration_and_repr(manifest_database: Path) -> None:
    dataset = open_dataset(manifest_database)
    assert len(dataset) == 96
    sample = dataset[3]
    assert (sample.label, sample.target) == ("COVID", 0)
    assert sample.image.pixels.shape == sample.mask.shape == (64, 64)
    assert dataset[23].mask is None
    assert [one.record for one in dataset[2:4]] == dataset.records[2:4]
    assert [one.label for one in dataset] == dataset.labels
    assert dataset[-1].record == dataset.records[-1]
    assert "96 images; COVID 24, Lung_Opacity 24, Normal 24, Viral Pneumonia 24; 92 lung masks" in repr(
        dataset
    )
    assert repr(sample).startswith("Sample(file='COVID/images/COVID-4.png', label='COVID'")


OWN = """
from lungcls.data import Dataset, Record

class Ward(Dataset):
    layout, looks, certain = "ward", "ward.txt and images", True

    @classmethod
    def recognise(cls, folder):
        return folder if (folder / "ward.txt").is_file() else None

    def __init__(self, root):
        super().__init__(root)
        self.classes = ("ill", "well")
        self.records = [Record(*line.split()) for line in (self.root / "ward.txt").read_text().splitlines()]
"""


def test_a_kind_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wards.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "ward.txt").write_text("a.png ill\nb.png well\n")
    for name in "ab":
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / f"{name}.png")
    try:
        assert open_dataset(folder, layout="wards:Ward").labels == ["ill", "well"]
        from wards import Ward

        register(Ward)
        assert isinstance(open_dataset(folder), Ward)
        assert open_dataset(folder, classes={"ill": "COVID", "well": "Normal"}).classes == ("COVID", "Normal")

        class Other(Dataset):
            layout = "ward"

        with pytest.raises(DataError, match="the layout 'ward' is Ward"):
            register(Other)
    finally:
        LAYOUTS.pop("ward", None)
        sys.modules.pop("wards", None)
    with pytest.raises(DataError, match="no kind of dataset"):
        register(Record)  # type: ignore[type-var]
    with pytest.raises(DataError, match="cannot be imported"):
        open_dataset(folder, layout="nowhere:Ward")


def test_titles_tell_folders_of_one_name_apart(tmp_path: Path, manifest_database: Path) -> None:
    titles = set()
    for number in (1, 2):
        root = tmp_path / str(number) / "data"
        for label in ("ill", "well"):
            (root / label).mkdir(parents=True)
            Image.fromarray(np.eye(8 * number, dtype=np.uint8)).save(root / label / "a.png")
        titles.add(ClassFolders(root).title)
    assert len(titles) == 2
    assert all(title.startswith("data ") for title in titles)
    shutil.move(tmp_path / "1" / "data", tmp_path / "data")
    assert ClassFolders(tmp_path / "data").title in titles
    copy = RadiographyDatabase(manifest_database)
    assert copy.title == "COVID-19 Radiography Database"


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "films").mkdir()
    monkeypatch.chdir(tmp_path / "films")
    assert Dataset(".").title.startswith("films ")


@pytest.mark.parametrize(
    "names", [("CXR_png", "ManualMask"), ("raw", "processed"), ("001", "002"), ("batch 1", "batch 2")]
)
def test_not_any_two_folders_are_classes(names: tuple[str, str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).mkdir()
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / name / "a.png")
    if "ManualMask" not in names:
        with pytest.raises(DataError, match="--layout folders if they are"):
            open_dataset(tmp_path)
    assert open_dataset(tmp_path, layout="folders").classes == tuple(sorted(names))


def test_spellings_of_one_class(tmp_path: Path) -> None:
    for name in ("train/COVID", "train/Normal", "test/Covid", "test/normal "):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / name / "a.png")
    dataset = open_dataset(tmp_path)
    assert len(dataset.classes) == 2
    assert len(dataset) == 4
    assert "differ in case or blanks" in dataset.notes[0]
