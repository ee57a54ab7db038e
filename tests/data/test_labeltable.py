from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lungcls.data import LabelTable, open_dataset, split_dataset
from lungcls.errors import DataError


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for number in range(4):
        Image.linear_gradient("L").resize((8, 8)).save(tmp_path / f"film {number}.png")
    return tmp_path


def table(films: Path, text: str, name: str = "labels.csv") -> Path:
    path = films / name
    path.write_text(text, encoding="utf-8")
    return path


def test_one_class_a_film(films: Path) -> None:
    path = table(
        films, "Path,Class,Patient ID\nfilm 0.png,a,p1\nfilm 1.png,b,p1\nfilm 2.png,A,\ngone.png,b,\n"
    )
    dataset = open_dataset(path)
    assert isinstance(dataset, LabelTable)
    assert not dataset.multilabel
    assert dataset.classes == ("a", "b")
    assert [(one.label, one.patient) for one in dataset.records] == [("a", "p1"), ("b", "p1"), ("a", "")]
    assert dataset.missing_files == ["gone.png"]
    assert dataset[0].image.pixels.shape == (8, 8)


@pytest.mark.parametrize(
    ("text", "classes", "present", "unknown"),
    [
        (
            "Image Index,Finding Labels\nfilm 0.png,Mass|Effusion\nfilm 1.png,No Finding\nfilm 2.png,Mass\n",
            ("Effusion", "Mass"),
            [("Effusion", "Mass"), (), ("Mass",)],
            [(), (), ()],
        ),
        (
            "path,Mass,Effusion,age\nfilm 0.png,1,1,40\nfilm 1.png,0,,50\nfilm 2.png,1.0,-1,60\n",
            ("Mass", "Effusion"),
            [("Effusion", "Mass"), (), ("Mass",)],
            [(), ("Effusion",), ("Effusion",)],
        ),
    ],
)
def test_several_findings_a_film(films: Path, text: str, classes: Any, present: Any, unknown: Any) -> None:
    dataset = open_dataset(table(films, text))
    assert dataset.multilabel
    assert dataset.classes == classes
    assert [one.findings for one in dataset.records] == present
    assert [one.unknown for one in dataset.records] == unknown
    assert [one.label for one in dataset.records] == ["Effusion|Mass", "none", "Mass"]
    assert dataset.summary()["classes"] == {"Mass": 2, "Effusion": 1}


def test_a_list_without_column_names_is_read_as_one(films: Path) -> None:
    dataset = open_dataset(table(films, "film 0.png,sick\nfilm 1.png,well\n"))
    assert [one.label for one in dataset.records] == ["sick", "well"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,label\nfilm 0.png,a\nfilm 1.png,\n", "film 1.png has no label"),
        ("path,label\nfilm 0.png,a\n", "expected two"),
        ("path,label\ngone.png,a\n", "none of the 1 images is there"),
        ("path,age\nfilm 0.png,40\n", "no column label"),
        ("one,two\n1,2\n", "expected a first line with the column names"),
        ("path,label\n", "no rows"),
    ],
)
def test_what_is_wrong_is_named(films: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        open_dataset(table(films, text))


def test_findings_cannot_be_mapped_to_classes(films: Path) -> None:
    path = table(films, "path,label\nfilm 0.png,a|b\nfilm 1.png,none\n")
    with pytest.raises(DataError, match="--classes"):
        open_dataset(path, classes="binary")
    with pytest.raises(DataError, match="20 images"):
        split_dataset(open_dataset(path))
