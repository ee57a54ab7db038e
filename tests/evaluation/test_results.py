from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from lungcls.errors import DataError
from lungcls.evaluation.classification import classification_report
from lungcls.evaluation.results import json_safe, write_results

ROWS = [
    {"metric": "accuracy", "class": "", "value": 0.91234, "low": 0.9, "high": 0.95, "n": 1600},
    {"metric": "auroc", "class": "COVID", "value": None, "low": None, "high": None, "n": 0},
]


def test_results_are_written_as_json_and_csv(tmp_path):
    payload = {"figures": {"accuracy": np.float64(0.5), "auroc": math.nan}, "file": Path("a") / "b"}
    json_path, csv_path = write_results(tmp_path / "deep" / "er", "stage2", ROWS, payload)
    assert (json_path.name, csv_path.name) == ("stage2.json", "stage2.csv")
    assert json.loads(json_path.read_text(encoding="utf-8")) == {
        "figures": {"accuracy": 0.5, "auroc": None},
        "file": str(Path("a") / "b"),
    }
    with open(csv_path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "metric": "accuracy", "class": "", "value": "0.91234", "low": "0.9", "high": "0.95", "n": "1600"
    }  # fmt: skip
    assert rows[1]["value"] == rows[1]["low"] == ""
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["stage2.csv", "stage2.json"]


def test_a_report_can_be_written_and_read_back_exactly(tmp_path):
    report = classification_report([0, 1, 1], np.eye(3)[[0, 1, 0]], "xyz", ["COVID", "b", "c"], 20)
    json_path, csv_path = write_results(tmp_path, "r", report.to_rows(), report.to_dict())
    assert json.loads(json_path.read_text(encoding="utf-8")) == report.to_dict()
    with open(csv_path, encoding="utf-8", newline="") as file:
        values = [row["value"] for row in csv.DictReader(file)]
    assert [float(v) if v else None for v in values] == [row["value"] for row in report.to_rows()]


def test_rows_of_different_kinds_share_a_file(tmp_path):
    _, csv_path = write_results(tmp_path, "r", [{"a": 1}, {"b": math.nan, "a": "x,y"}, {"b": 2}], {})
    assert csv_path.read_text(encoding="utf-8") == 'a,b\n1,\n"x,y",\n,2\n'


def test_a_failed_write_leaves_the_old_results(tmp_path):
    write_results(tmp_path, "r", ROWS, {"old": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match="object"):
        write_results(tmp_path, "r", ROWS, {"new": object()})
    with pytest.raises(DataError, match="object"):
        write_results(tmp_path, "r", [{"metric": object()}], {"new": 1})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b"])
def test_the_name_is_a_plain_one(tmp_path, name):
    with pytest.raises(DataError, match="name"):
        write_results(tmp_path, name, ROWS, {})


def test_values_become_plain():
    value = {
        1: (np.int64(2), np.bool_(True)),
        "a": np.array([1.5, np.inf]),
        "s": {"b", "a"},
        "n": np.array(3),
    }
    assert json_safe(value) == {"1": [2, True], "a": [1.5, None], "s": ["a", "b"], "n": 3}
