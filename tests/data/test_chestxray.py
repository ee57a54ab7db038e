from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcls.data import CovidChestXray, open_dataset, open_external, split_dataset
from lungcls.errors import DataError
from lungcls.labels import CLASSES

HEADER = "patientid,finding,view,modality,folder,filename,url"
ROWS = [
    "2,COVID-19,PA,X-ray,images,a.jpg,https://www.nejm.org/doi",
    "2,COVID-19,AP Supine,X-ray,images,b.jpg,https://www.nejm.org/doi",
    "3,Pneumonia/Viral/SARS,AP,X-ray,images,c.jpg,",
    "4,No Finding,PA,X-ray,images,d.jpg,",
    "5,COVID-19,L,X-ray,images,e.jpg,",
    "5,COVID-19,Axial,CT,volumes,f.nii.gz,",
    "6,todo,PA,X-ray,images,g.jpg,",
    "7,COVID-19,PA,X-ray,images,lost.jpg,",
    "8,SARS,PA,X-ray,images,c.jpg,",
    "9,COVID-19,,X-ray,images,h.jpg,",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "metadata.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    (tmp_path / "images").mkdir()
    for position, name in enumerate("abcdegh"):
        pixels = np.random.default_rng(position).integers(0, 255, (40, 40), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.jpg")
    return tmp_path


def test_as_an_external_set_it_has_the_four_classes(folder: Path) -> None:
    dataset = open_external(folder)
    assert dataset.classes == CLASSES
    assert {record.label for record in dataset.records} == {"COVID", "Normal", "Viral Pneumonia"}


def test_frontal_radiographs_are_kept_and_the_rest_counted(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert isinstance(dataset, CovidChestXray)
    assert {r.file: (r.label, r.patient, r.source) for r in dataset.records} == {
        "images/a.jpg": ("COVID", "2", "nejm.org"),
        "images/b.jpg": ("COVID", "2", "nejm.org"),
        "images/c.jpg": ("other", "3", ""),
        "images/d.jpg": ("other", "4", ""),
    }
    assert dataset.dropped == {
        "finding todo": 1,
        "image named twice": 1,
        "modality CT": 1,
        "view L": 1,
        "view not stated": 1,
    }
    assert dataset.missing_files == ["images/lost.jpg"]
    summary = dataset.summary()
    assert summary["images"] + summary["missing_files"] + sum(summary["dropped"].values()) == len(ROWS)
    assert summary["patients"] == 3


def test_patients_who_share_an_image_share_a_group(folder: Path) -> None:
    groups = {record.patient: record.group for record in CovidChestXray(folder).records}
    assert groups == {"2": "", "3": "patients 3 8", "4": ""}


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        ("three", ["COVID", "COVID", "Pneumonia", "Normal"]),
        ("four", ["COVID", "COVID", "Viral Pneumonia", "Normal"]),
        ({"COVID-19": "", "Viral": "virus", "No Finding": "none"}, ["virus", "none"]),
    ],
)
def test_classes_are_the_users_to_choose(folder: Path, classes: object, labels: list[str]) -> None:
    dataset = open_dataset(folder, classes=classes)  # type: ignore[arg-type]
    assert [record.label for record in dataset.records] == labels
    assert set(labels) <= set(dataset.classes)


def test_views_are_the_users_to_choose(folder: Path) -> None:
    files = [record.file for record in CovidChestXray(folder, views=("L",)).records]
    assert files == ["images/e.jpg"]


def test_nothing_left_says_why(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no image is left of 10 rows.*modality CT"):
        CovidChestXray(folder, views=("oblique",))


def test_real_copy(real_data: Path) -> None:
    root = real_data / "covid-chestxray-dataset"
    if not root.is_dir():
        pytest.skip("LUNGCLS_DATA holds no covid-chestxray-dataset")
    dataset = open_dataset(root)
    summary = dataset.summary()
    rows = summary["images"] + summary["missing_files"] + sum(summary["dropped"].values())
    with (root / "metadata.csv").open(encoding="utf-8-sig", errors="replace") as file:
        import csv

        metadata = list(csv.DictReader(file))
    assert rows == len(metadata)
    assert summary["dropped"]["modality CT"] == sum(row["modality"] == "CT" for row in metadata)
    covid = {row["filename"] for row in metadata if row["finding"] == "COVID-19"}
    assert all((Path(r.file).name in covid) == (r.label == "COVID") for r in dataset.records)
    split = split_dataset(dataset)
    patients: dict[str, set[str]] = {}
    for record in dataset.records:
        patients.setdefault(record.patient, set()).add(split.parts[record.file])
    assert all(len(parts) == 1 for parts in patients.values())
    assert Counter(split.parts.values())["train"] > 0.6 * len(dataset.records)
