from __future__ import annotations

import numpy as np
import pytest

from lungcls.errors import DataError
from lungcls.render.tables import format_confusion, format_table, markdown_table

ROWS = [
    {"metric": "accuracy", "class": "", "value": 0.91234, "low": 0.9, "high": 0.95, "n": 1600},
    {"metric": "auroc", "class": "COVID", "value": None, "low": None, "high": None, "n": 0},
]


def test_a_table_by_eye():
    assert format_table(ROWS).splitlines() == [
        "| metric   | class | value [95% interval] |    n |",
        "|----------|-------|---------------------:|-----:|",
        "| accuracy |       | 0.912 [0.900, 0.950] | 1600 |",
        "| auroc    | COVID |                    - |    0 |",
    ]


def test_a_table_without_intervals_and_empty_columns():
    rows = [{"metric": "a", "class": "", "value": 0.5, "low": None, "high": None}]
    assert format_table(rows, digits=1).splitlines()[0::2] == ["| metric | value |", "| a      |   0.5 |"]
    assert format_table([]) == ""


def test_a_table_keeps_other_columns_and_names_its_level():
    rows = [{"arm": "mask|x", "value": 0.5, "low": 0.1, "high": 0.9}, {"arm": "full", "value": 1}]
    lines = format_table(rows, digits=2, level=0.9).splitlines()
    assert lines[0] == "| arm     | value [90% interval] |"
    assert lines[2] == "| mask\\|x |    0.50 [0.10, 0.90] |"
    assert lines[3] == "| full    |                    1 |"


def test_a_confusion_matrix_by_eye():
    assert format_confusion(["COVID", "b"], np.array([[10, 2], [3, 400]])).splitlines() == [
        "| true \\ predicted | COVID |   b |",
        "|------------------|------:|----:|",
        "| COVID            |    10 |   2 |",
        "| b                |     3 | 400 |",
    ]
    with pytest.raises(DataError, match="shape"):
        format_confusion(["a"], np.eye(2))


def test_tables_of_documents_pad_nothing() -> None:
    text = markdown_table(["arm", "F1"], [["full", "0.9 (0.8 to 1.0)"]])
    assert text == "| arm | F1 |\n|---|---|\n| full | 0.9 (0.8 to 1.0) |"
