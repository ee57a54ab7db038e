from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcls.data import ClassFolders, open_dataset
from lungcls.errors import DataError


def save(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)


def test_without_a_split(tmp_path: Path) -> None:
    save(
        tmp_path / "covid/b.png", tmp_path / "covid/a.png", tmp_path / "non/c.jpg", tmp_path / ".git/x/y.png"
    )
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, ClassFolders)
    assert dataset.classes == ("covid", "non")
    assert [(r.file, r.label, r.part) for r in dataset.records] == [
        ("covid/a.png", "covid", ""),
        ("covid/b.png", "covid", ""),
        ("non/c.jpg", "non", ""),
    ]


def test_with_a_split_and_folders_between(tmp_path: Path) -> None:
    save(
        tmp_path / "train/covid/a.png",
        tmp_path / "Val/non/Edema/b.png",
        tmp_path / "test/non/No Finding/c.png",
    )
    dataset = open_dataset(tmp_path)
    assert [(r.file, r.label, r.part, r.source) for r in dataset.records] == [
        ("Val/non/Edema/b.png", "non", "validation", "Edema"),
        ("test/non/No Finding/c.png", "non", "test", "No Finding"),
        ("train/covid/a.png", "covid", "train", ""),
    ]
    assert "The part test holds no image of covid." in dataset.notes
    assert dataset.summary()["parts"] == {"test/non": 1, "train/covid": 1, "validation/non": 1}


def test_masks_beside_the_images(tmp_path: Path) -> None:
    save(
        tmp_path / "ill/images/a.png",
        tmp_path / "ill/lung masks/a.png",
        tmp_path / "ill/infection masks/a.png",
        tmp_path / "well/images/b.png",
    )
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / "ill/lung masks/a.png")
    dataset = open_dataset(tmp_path)
    assert [(r.file, r.mask) for r in dataset.records] == [
        ("ill/images/a.png", "ill/lung masks/a.png"),
        ("well/images/b.png", ""),
    ]
    assert dataset.dropped == {"mask of something else": 1}
    assert dataset.read_mask(dataset.records[0]).shape == (8, 8)


def test_half_a_split_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "train/covid/a.png", tmp_path / "train/non/b.png", tmp_path / "more/c.png")
    with pytest.raises(DataError, match=r"1 images lie in folders of classes and 2 in folders of a split"):
        ClassFolders(tmp_path)


def test_one_class_is_none(tmp_path: Path) -> None:
    save(tmp_path / "covid/a.png")
    with pytest.raises(DataError, match=r"found 1 folders of classes with images \(covid\)"):
        ClassFolders(tmp_path)
