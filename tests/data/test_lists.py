from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcls.data import ImageLists, open_dataset
from lungcls.data.lists import part_of_list
from lungcls.errors import DataError


def save(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)


def test_covidx(tmp_path: Path) -> None:
    save(*(tmp_path / name for name in ("train/a.jpg", "train/b.png", "test/a.jpg", "test/c.png")))
    (tmp_path / "train_COVIDx9A.txt").write_text("p1 a.jpg positive cohen\np2 b.png negative rsna\n\n")
    (tmp_path / "test_COVIDx9A.txt").write_text(
        "p3 a.jpg negative rsna\np4 c.png positive sirm\np5 d.png x y\n"
    )
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, ImageLists)
    assert dataset.classes == ("negative", "positive")
    found = {r.file: (r.label, r.patient, r.source, r.part) for r in dataset.records}
    assert found == {
        # The same name in both parts: each list means its own folder.
        "train/a.jpg": ("positive", "p1", "cohen", "train"),
        "train/b.png": ("negative", "p2", "rsna", "train"),
        "test/a.jpg": ("negative", "p3", "rsna", "test"),
        "test/c.png": ("positive", "p4", "sirm", "test"),
    }
    assert dataset.missing_files == ["d.png"]


@pytest.mark.parametrize("line", ["{} {}", "{},{}", "{}\t{}"])
def test_name_and_label(tmp_path: Path, line: str) -> None:
    save(tmp_path / "data/non/a.jpg", tmp_path / "data/b.jpg")
    rows = [line.format("non/a.jpg", 0), line.format("b.jpg", 1), line.format("b.jpg", 1)]
    (tmp_path / "all.txt").write_text("\n".join(rows))
    dataset = open_dataset(tmp_path)
    assert [(r.file, r.label, r.part) for r in dataset.records] == [
        ("data/non/a.jpg", "0", ""),
        ("data/b.jpg", "1", ""),
    ]


def test_a_header_and_spaces_in_names(tmp_path: Path) -> None:
    save(tmp_path / "COVID (1).png", tmp_path / "b.png")
    (tmp_path / "val.csv").write_text("filename,label\nCOVID (1).png,covid\nb.png,non\n")
    dataset = open_dataset(tmp_path)
    assert [(r.file, r.label, r.part) for r in dataset.records] == [
        ("COVID (1).png", "covid", "validation"),
        ("b.png", "non", "validation"),
    ]


def test_contradictions_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", tmp_path / "b.png")
    (tmp_path / "one.txt").write_text("a.png x\nb.png y\n")
    (tmp_path / "two.txt").write_text("a.png y\n")
    with pytest.raises(DataError, match=r"two\.txt: a\.png is 'y'.*one\.txt says 'x'"):
        ImageLists(tmp_path)
    assert len(ImageLists(tmp_path, lists=[tmp_path / "one.txt"]).records) == 2


def test_lists_without_their_images(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a.png x\nb.png y\n")
    with pytest.raises(DataError, match=r"none of the 2 images that train\.txt name"):
        open_dataset(tmp_path)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    path = tmp_path / "train.txt"
    path.write_text("a.png x\nnothing here\n")
    with pytest.raises(DataError, match=r"train\.txt, line 2: 'nothing here'"):
        ImageLists(tmp_path, lists=[path])


@pytest.mark.parametrize(
    ("name", "part"),
    [("train_COVIDx9A", "train"), ("val", "validation"), ("covid-test", "test"), ("latest", ""), ("all", "")],
)
def test_parts_in_names(name: str, part: str) -> None:
    assert part_of_list(Path(f"{name}.txt")) == part


BASE = [("a.png", "COVID"), ("b.png", "Normal"), ("c.png", "Normal")]


@pytest.mark.parametrize(
    "content",
    [
        ("filename,label\r\n" + "\r\n".join(",".join(row) for row in BASE)).encode("utf-16"),
        ("﻿file;label\r\n" + "\r\n".join(";".join(row) for row in BASE)).encode(),
        "\r".join(",".join(row) for row in BASE).encode(),
        "\n".join(f"train\\{name},{label}" for name, label in BASE).encode(),
        "\n".join(f"./train/{name} {label}" for name, label in BASE).encode(),
        "\n".join(f"D:\\work\\train\\{name};{label}" for name, label in BASE).encode(),
        "\n".join(f"/home/me/set/train/{name},{label}" for name, label in BASE).encode(),
        "\n".join(f"{name.upper()},{label}" for name, label in BASE).encode(),
        b"a.png,COVID\nb.png,normal \nc.png,Normal\nc.png,NORMAL".replace(b"normal ", b"Normal"),
    ],
)
def test_lists_as_programs_write_them(tmp_path: Path, content: bytes) -> None:
    save(*(tmp_path / "train" / name for name, _ in BASE))
    (tmp_path / "train.csv").write_bytes(content)
    dataset = open_dataset(tmp_path)
    assert sorted((r.file, r.label) for r in dataset.records) == [
        (f"train/{name}", label) for name, label in BASE
    ]
    assert not dataset.missing_files


def test_names_and_labels_of_two_words(tmp_path: Path) -> None:
    save(tmp_path / "my film.png", tmp_path / "b.png", tmp_path / "c.png", tmp_path / "x, y.png")
    (tmp_path / "all.txt").write_text("my film.png Viral Pneumonia\nb.png Normal\np1 c.png Normal rsna\n")
    found = {r.file: (r.label, r.patient, r.source) for r in ImageLists(tmp_path).records}
    assert found == {
        "my film.png": ("Viral Pneumonia", "", ""),
        "b.png": ("Normal", "", ""),
        "c.png": ("Normal", "p1", "rsna"),
    }
    (tmp_path / "all.txt").write_text('name,label\n"x, y.png",Viral Pneumonia\nb.png,Normal\n')
    found = {r.file: r.label for r in ImageLists(tmp_path).records}
    assert found == {"x, y.png": "Viral Pneumonia", "b.png": "Normal"}


def test_a_name_that_could_mean_two_files_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "one/a.png", tmp_path / "two/a.png")
    (tmp_path / "all.txt").write_text("a.png COVID\n")
    with pytest.raises(DataError, match=r"a\.png could be one/a\.png or two/a\.png"):
        ImageLists(tmp_path)


def test_another_encoding_is_named(tmp_path: Path) -> None:
    save(tmp_path / "b.png")
    path = tmp_path / "all.csv"
    path.write_bytes("é.png,COVID\nb.png,Normal\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"not readable as UTF-8.*Latin-1: save it as UTF-8"):
        ImageLists(tmp_path, lists=[path])


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("\u201ca.png\u201d,COVID\nb.png,Normal\n", "a.png"),  # quotes of a word processor, in the first line
        ("a.png,COVID\u200b\nc.png,COVID\nb.png,Normal\n", "a.png"),  # a sign of no width
        ("e\u0301.png,COVID\nb.png,Normal\n", "\u00e9.png"),  # accents as macOS writes them
    ],
)
def test_signs_that_nobody_sees_lose_no_image_and_make_no_class(
    tmp_path: Path, text: str, image: str
) -> None:
    save(*(tmp_path / name for name in (image, "b.png", "c.png")))
    (tmp_path / "all.csv").write_text(text, encoding="utf-8")
    dataset = open_dataset(tmp_path)
    assert {record.file: record.label for record in dataset.records}[image] == "COVID"
    assert dataset.classes == ("COVID", "Normal")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a.png,COVID\nb.png,\n", "line 2.*does not name an image and its class"),
        ("a.png,COVID\nb.png,Normal\n".encode("utf-16-le"), "null characters.*UTF-8"),
        (b"(a.png),COVID\nb.png,Normal\n", "line 1.*does not name an image"),
    ],
)
def test_what_would_be_lost_without_a_word_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    save(tmp_path / "a.png", tmp_path / "b.png")
    (tmp_path / "all.csv").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        ImageLists(tmp_path, lists=[tmp_path / "all.csv"])
