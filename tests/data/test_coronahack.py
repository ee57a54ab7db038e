from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcls.data import CoronaHack, absent_classes, crossing, official_split, open_dataset, split_dataset
from lungcls.data.coronahack import CLASSES, METADATA, SUMMARY
from lungcls.errors import DataError

HEADER = ",X_ray_image_name,Label,Dataset_type,Label_2_Virus_category,Label_1_Virus_category"
ROWS = [
    "IM-0128-0001.jpeg,Normal,TRAIN,,",
    "IM-0128-0002.jpeg,Normal,TRAIN,,",
    "NORMAL2-IM-0689-0001.jpeg,Normal,TEST,,",
    "person1_bacteria_1.jpeg,Pnemonia,TRAIN,,bacteria",
    "person1_virus_6.jpeg,Pneumonia,TEST,,Virus",
    "person2_virus_7.jpeg,Pnemonia,TEST,,Virus",
    "covid-a.jpeg,Pnemonia,TRAIN,COVID-19,Virus",
    "sars.jpeg,Pnemonia,TRAIN,SARS,Virus",
    "lost.jpeg,Pnemonia,TRAIN,COVID-19,Virus",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / METADATA).write_text(
        "\n".join([HEADER, *(f"{number},{row}" for number, row in enumerate(ROWS))]) + "\n"
    )
    for row in ROWS[:-1]:
        name, _, part, *_ = row.split(",")
        path = tmp_path / "Coronahack-Chest-XRay-Dataset/Coronahack-Chest-XRay-Dataset" / part.lower() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name) + 7 * ord(name[-8])).integers(0, 255, (40, 40), np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path


def test_classes_parts_and_patients(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert isinstance(dataset, CoronaHack)
    assert dataset.classes == CLASSES == ("Normal/NA", "Pneumonia/NA", "Pneumonia/COVID-19")
    found = {Path(r.file).name: (r.label, r.part, r.patient, r.source) for r in dataset.records}
    assert found == {
        "IM-0128-0001.jpeg": ("Normal/NA", "train", "train IM-0128", "kermany"),
        "IM-0128-0002.jpeg": ("Normal/NA", "train", "train IM-0128", "kermany"),
        "NORMAL2-IM-0689-0001.jpeg": ("Normal/NA", "test", "test NORMAL2-IM-0689", "kermany"),
        # Spelled in both ways, and numbered anew in each part.
        "person1_bacteria_1.jpeg": ("Pneumonia/NA", "train", "train person1", "kermany"),
        "person1_virus_6.jpeg": ("Pneumonia/NA", "test", "test person1", "kermany"),
        "person2_virus_7.jpeg": ("Pneumonia/NA", "test", "test person2", "kermany"),
        "covid-a.jpeg": ("Pneumonia/COVID-19", "train", "", "covid-chestxray"),
    }
    assert all(dataset.path(record).is_file() for record in dataset.records)
    assert [Path(file).name for file in dataset.missing_files] == ["lost.jpeg"]
    assert dataset.dropped == {"finding Pneumonia/SARS": 1}


def test_summary_counts_the_metadata_and_the_images(folder: Path) -> None:
    summary = CoronaHack(folder).summary()
    assert summary["metadata"] == {
        "Normal/NA/NA": 3,
        "Pneumonia/Virus/COVID-19": 2,
        "Pneumonia/Virus/NA": 2,
        "Pneumonia/Virus/SARS": 1,
        "Pneumonia/bacteria/NA": 1,
    }
    assert summary["classes"] == {"Normal/NA": 3, "Pneumonia/NA": 3, "Pneumonia/COVID-19": 1}
    assert summary["parts"]["test/Pneumonia/NA"] == 2
    assert (summary["images"], summary["missing_files"]) == (7, 1)


def test_it_says_that_its_test_part_holds_no_covid(folder: Path) -> None:
    assert any("test part holds no COVID-19" in note for note in CoronaHack(folder).notes)


def test_a_summary_file_that_contradicts_the_metadata_is_noted(folder: Path) -> None:
    text = ",Label,Label_1_Virus_category,Label_2_Virus_category,Image_Count\n0,Normal,,,4\n"
    (folder / SUMMARY).write_text(text)
    assert any("Normal/NA/NA: 3 rows against 4" in note for note in CoronaHack(folder).notes)


def test_other_classes(folder: Path) -> None:
    dataset = CoronaHack(folder, classes={"bacteria": "bacterial", "COVID-19": "", "Virus": "viral"})
    assert {Path(r.file).name: r.label for r in dataset.records} == {
        "person1_bacteria_1.jpeg": "bacterial",
        "person1_virus_6.jpeg": "viral",
        "person2_virus_7.jpeg": "viral",
        "sars.jpeg": "viral",
    }
    four = CoronaHack(folder, classes="four")
    assert Counter(r.label for r in four.records)["Viral Pneumonia"] == 3


def test_faults_are_named(folder: Path) -> None:
    path = folder / METADATA
    text = path.read_text()
    path.write_text(text.replace("TRAIN", "HOLDOUT", 1))
    with pytest.raises(DataError, match=r"Dataset_type 'HOLDOUT' of IM-0128-0001\.jpeg"):
        CoronaHack(folder)
    path.write_text(text.replace("Dataset_type", "Type", 1))
    with pytest.raises(DataError, match="no column Dataset_type"):
        CoronaHack(folder)


def test_real_copy(real_data: Path) -> None:
    root = real_data / "coronahack"
    if not root.is_dir():
        pytest.skip("LUNGCLS_DATA holds no coronahack")
    dataset = open_dataset(root)
    assert isinstance(dataset, CoronaHack)
    with (root / SUMMARY).open(newline="") as file:
        expected = {
            "/".join(
                part or "NA"
                for part in (
                    row["Label"].replace("Pnemonia", "Pneumonia"),
                    row["Label_1_Virus_category"],
                    row["Label_2_Virus_category"],
                )
            ): int(row["Image_Count"])
            for row in csv.DictReader(file)
        }
    summary = dataset.summary()
    assert summary["metadata"] == expected
    assert sum(expected.values()) == 5910
    assert not any("do not give the counts" in note for note in dataset.notes)
    everything = len(dataset.records) + len(dataset.missing_files) + sum(dataset.dropped.values())
    named_and_dropped = sum(expected.values())
    assert everything == named_and_dropped
    assert any("no COVID-19" in note for note in dataset.notes)


def test_real_splits(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "coronahack"
    if not root.is_dir():
        pytest.skip("LUNGCLS_DATA holds no coronahack")
    dataset = CoronaHack(root)
    covid = [record for record in dataset.records if record.label == "Pneumonia/COVID-19"]
    children = [record for record in dataset.records if record.source == "kermany"]
    dataset.records = covid + children[::5]
    cache = tmp_path / "copies.npz"
    own = official_split(dataset, cache=cache)
    assert all(own.parts[r.file] == "test" for r in dataset.records if r.part == "test")
    assert absent_classes(own, dataset) == {"test": ["Pneumonia/COVID-19"]}
    grouped = split_dataset(dataset, cache=cache)
    assert cache.is_file()
    assert absent_classes(grouped, dataset) == {}
    assert crossing(grouped) == []
