from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcls.data import (
    LAYOUTS,
    ClassFolders,
    CoronaHack,
    CovidChestXray,
    ImageLists,
    MaskFolder,
    RadiographyDatabase,
    open_dataset,
    open_externals,
)
from lungcls.errors import DataError
from lungcls.labels import CLASSES


def save(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)


def test_the_radiography_database(original_database: Path) -> None:
    dataset = open_dataset(original_database)
    assert isinstance(dataset, RadiographyDatabase)
    assert (dataset.classes, dataset.layout) == (CLASSES, "radiography")
    assert open_dataset(original_database, classes="binary").classes == ("COVID", "other")
    assert isinstance(open_dataset(original_database / "COVID"), MaskFolder)
    # As an archive unpacks: a folder in a folder.
    assert len(open_dataset(original_database.parent).records) == len(dataset.records)


def test_the_message_lists_all_layouts(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"found notes\.txt") as caught:
        open_dataset(tmp_path)
    assert all(f"{name}: " in str(caught.value) for name in LAYOUTS)
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")


def test_two_ways_to_read_a_folder_need_a_word(tmp_path: Path) -> None:
    save(tmp_path / "covid/a.png", tmp_path / "non/b.png")
    (tmp_path / "train.txt").write_text("covid/a.png 1\nnon/b.png 0\n")
    with pytest.raises(DataError, match=r"more than one way: --layout folders .*; --layout lists"):
        open_dataset(tmp_path)
    assert isinstance(open_dataset(tmp_path, layout="folders"), ClassFolders)
    assert isinstance(open_dataset(tmp_path, layout="lists"), ImageLists)
    with pytest.raises(DataError, match="unknown layout 'tiles'"):
        open_dataset(tmp_path, layout="tiles")


@pytest.mark.parametrize(
    "name", ["volume.nii.gz", "scan.nii", "train_COVIDx_CT-3A.txt", "3A_images/x.png", "CT_COVID/x.png"]
)
def test_computed_tomography_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".png":
        save(path)
    else:
        path.write_bytes(b"x")
    with pytest.raises(DataError, match=r"computed tomography\. lungcls reads radiographs"):
        open_dataset(tmp_path)


def test_lists_of_ct_slices_are_refused_by_their_boxes(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("NCP_96_1328_0035.png 2 9 94 512 405\nCP_1_1_0001.png 1 0 0 9 9\n")
    with pytest.raises(DataError, match=r"box of a CT slice.*radiographs"):
        open_dataset(tmp_path)


def test_real_copies(real_data: Path) -> None:
    expected = {
        "radiography": RadiographyDatabase,
        "montgomery": MaskFolder,
        "coronahack": CoronaHack,
        "covid-chestxray-dataset": CovidChestXray,
    }
    for name, kind in expected.items():
        if (real_data / name).is_dir():
            dataset = open_dataset(real_data / name)
            assert isinstance(dataset, kind)
            assert dataset.path(dataset.records[0]).is_file()
            assert {record.label for record in dataset.records} <= {*dataset.classes, ""}
    assert isinstance(open_dataset(real_data), RadiographyDatabase)


def test_folders_of_one_name_are_all_opened_each_under_a_name_of_its_own(
    manifest_database: Path, tmp_path: Path
) -> None:
    for place in ("a", "b"):
        shutil.copytree(manifest_database, tmp_path / place / "radiography")
    roots = [tmp_path / "a/radiography", tmp_path / "b/radiography", tmp_path / "a/../a/radiography"]
    opened = open_externals(roots, taken=["radiography"])
    assert {name: dataset.root for name, dataset in opened.items()} == {
        "radiography-2": roots[0],
        "radiography-3": roots[1],
    }
