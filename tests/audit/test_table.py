"""Anybody's predictions, read as they are written, and refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungcls.audit.features import read_features
from lungcls.audit.table import read_predictions
from lungcls.errors import DataError

MANIFEST = """Image Index,Finding,Patient ID,Patient Age,Patient Gender,View Position,site,split
films/a.png,sick,p1,045Y,F,PA,north,train
films/b.png,well,p2,17,M,AP,north,test
films/c.png,sick,p2,80,M,unknown,south,test
"""


def write(folder: Path, text: str, name: str = "predictions.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_names_of_other_databases_are_understood(tmp_path: Path) -> None:
    manifest = write(tmp_path, MANIFEST, "manifest.csv")
    path = write(tmp_path, "file;p_sick;p_well;set_0.9\na.png;0.9;0.1;sick\nfilms/b.png;0.4;0.6;sick|well\n")
    table = read_predictions(path, manifest)
    assert table.answers.classes == ("sick", "well")
    assert table.answers.labels.tolist() == [0, 1]
    assert table.answers.groups == ("p1", "p2")
    assert table.columns["age"] == ["40 to 59", "under 18"]
    assert table.columns["sex"] == ["F", "M"]
    assert table.columns["source"] == ["north", "north"]
    assert table.sets[0.9].tolist() == [[True, False], [True, True]]
    assert np.allclose(table.answers.probabilities, [[0.9, 0.1], [0.4, 0.6]])
    assert table.of_part("test").answers.files == ("films/b.png",)
    with pytest.raises(DataError, match=r"part 'dev'.*parts are: test, train"):
        table.of_part("dev")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image,label,logit_a,logit_b\nx,a,2,0\ny,b,0,2\n", [[0.8808, 0.1192], [0.1192, 0.8808]]),
        ("image,label,score\nx,0,0.2\ny,1,0.7\n", [[0.8, 0.2], [0.3, 0.7]]),
        ("image,label,a,b\nx,a,0.75,0.25\ny,b,0.5,0.5\n", [[0.75, 0.25], [0.5, 0.5]]),
    ],
)
def test_logits_scores_and_bare_columns(text: str, expected: list[list[float]], tmp_path: Path) -> None:
    found = read_predictions(write(tmp_path, text)).answers.probabilities
    assert found == pytest.approx(np.asarray(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label,p_a,p_b\n", "holds no prediction"),
        ("name,label,p_a,p_b\nx,a,1,0\n", "no column 'file'"),
        (
            "file,label,p_a,p_b\nx,a,1,0\nx,a,1,0\n",
            r"line 3: x is answered a second time \(first in line 2\)",
        ),
        ("file,label,p_a,p_b\nx,a,one,0\n", "line 2, column p_a: 'one' is no number"),
        ("file,label,p_a,p_b\nx,a,nan,0\n", "line 2, column p_a: nan is not finite"),
        (
            "file,label,p_a,p_b\nx,a,3,-2\n",
            r"line 2, column p_a: 3 is no probability; name logits logit_CLASS",
        ),
        ("file,label,p_a,p_b\nx,a,0.9,0.9\n", r"line 2: the probabilities sum to 1.800"),
        ("file,label,p_a,p_b\nx,c,1,0\n", r"line 2: the class 'c' has no column.*a, b"),
        ("file,label,p_a,p_b\nx,,1,0\n", r"line 2: no true class"),
        ("file,label,a\nx,a,1\ny,b,0\n", "no probability of b"),
        (
            "file,label,a,b,set_0.9\nx,a,1,0,a;c\ny,b,0,1,b\n",
            "line 2, column set_0.9: 'c' is none of the classes",
        ),
        ("model,file,label,a,b\nm,x,a,1,0\nn,x,b,0,1\n", "answers of m, n; choose one with --model"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_predictions(write(tmp_path, text))


def test_films_that_a_manifest_does_not_name_are_refused(tmp_path: Path) -> None:
    manifest = write(tmp_path, MANIFEST, "manifest.csv")
    path = write(tmp_path, "file,p_sick,p_well\nz.png,0.9,0.1\n")
    with pytest.raises(DataError, match=r"line 2: z.png: .*manifest.csv does not name it"):
        read_predictions(path, manifest)
    path = write(tmp_path, "file,p_sick,p_well\na.png,0.9,0.1\n")
    with pytest.raises(DataError, match=r"--by ward: .*no such column"):
        read_predictions(path, manifest, by=["ward"])


def test_features_of_another_length_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.npy"
    np.save(path, np.ones((3, 2)))
    assert read_features(path, 3).shape == (3, 2)
    with pytest.raises(DataError, match=r"shape \[3, 2\]; expected \[4, F\]"):
        read_features(path, 4)
    np.save(path, np.asarray([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="no objects in it"):
        read_features(path, 1)
