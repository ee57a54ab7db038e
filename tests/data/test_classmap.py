from __future__ import annotations

from pathlib import Path

import pytest

from lungcls.data.classmap import PRESETS, classes_of, finding_names, load_classes, map_name
from lungcls.errors import DataError
from lungcls.labels import CLASSES


def test_presets() -> None:
    assert classes_of(PRESETS["binary"]) == ("COVID", "other")
    assert classes_of(PRESETS["three"]) == ("COVID", "Pneumonia", "Normal")
    assert classes_of(PRESETS["four"]) == CLASSES


@pytest.mark.parametrize(
    ("finding", "binary", "three", "four"),
    [
        ("Pneumonia/Viral/COVID-19", "COVID", "COVID", "COVID"),
        ("COVID-19, ARDS", "COVID", "COVID", "COVID"),
        ("SARS", "other", "Pneumonia", "Viral Pneumonia"),
        ("Pneumonia/Bacterial/Streptococcus", "other", "Pneumonia", "Lung_Opacity"),
        ("Pneumonia", "other", "Pneumonia", "Lung_Opacity"),
        ("No Finding", "other", "Normal", "Normal"),
        ("ARDS", "other", "", ""),
        ("todo", "", "", ""),
    ],
)
def test_findings_of_the_ieee_collection(finding: str, binary: str, three: str, four: str) -> None:
    names = finding_names(finding)
    found = [map_name(PRESETS[preset], *names) for preset in ("binary", "three", "four")]
    assert found == [binary, three, four]


def test_the_first_name_that_is_known_decides_and_case_does_not() -> None:
    mapping = {"a/b": "both", "A": "one", "*": "rest", "gone": ""}
    assert map_name(mapping, "A/B", "a") == "both"
    assert map_name(mapping, "x", "a") == "one"
    assert map_name(mapping, "x", "y") == "rest"
    assert map_name(mapping, "Gone", "a") == ""


def test_a_file_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "classes.toml"
    path.write_text('[classes]\n"COVID-19" = "ill"\n"*" = "well"\n')
    assert load_classes(path) == {"COVID-19": "ill", "*": "well"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected a table \[classes\]"),
        ("[classes", "not readable as a TOML file"),
        ('[classes]\nA = "a"\n', "needs at least two"),
        ("[classes]\nA = 1\nB = 2\n", "must be text"),
    ],
)
def test_what_is_no_mapping_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "classes.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_classes(path)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match="binary, three, four"):
        load_classes("five")
