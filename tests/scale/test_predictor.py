from __future__ import annotations

import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lungcls import Pipeline
from lungcls.errors import DataError
from lungcls.scale import Predictor, decode_mask, predictor

Options = dict[str, Any]


@pytest.fixture
def table(films: list[str]) -> pa.Table:
    return pa.table({"path": [*films[:5], "gone.png"], "label": list("abcdef")})


def check(rows: list[dict[str, Any]], films: list[str], options: Options) -> None:
    for row, film, answer in zip(rows, films, Pipeline(**options).predict(films[:5])):
        assert (row["uri"], row["label"], row["error"]) == (film, answer.label, None)
        assert dict(row["probabilities"]) == pytest.approx(answer.probabilities, abs=1e-6)
        assert np.array_equal(decode_mask(dict(row["mask"])), answer.lungs.mask)
    assert [dict(row["input"]) for row in rows] == [{"label": letter} for letter in "abcdef"]
    assert (rows[5]["error_kind"], rows[5]["label"]) == ("ImageError", None)


def test_tables_are_answered_with_their_own_columns_beside(
    table: pa.Table, films: list[str], options: Options
) -> None:
    function = pickle.loads(pickle.dumps(predictor("path", **options)))
    answer = function(table)
    assert answer.schema.equals(function.schema(table.schema))
    check(answer.to_pylist(), films, options)
    (batch,) = table.to_batches()
    assert function(batch).equals(answer)
    assert function({name: np.asarray(table[name]) for name in table.column_names}).equals(answer)
    (again,) = function.in_arrow(iter([batch]))
    assert again.equals(answer.to_batches()[0])
    assert "input" not in function(table.select(["path"])).column_names
    assert function(table.slice(0, 0)).num_rows == 0


def test_frames_are_answered_with_frames(table: pa.Table, films: list[str], options: Options) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    function = predictor("path", **options)
    (frame,) = function.in_pandas(iter([table.to_pandas()]))
    check(frame.astype(object).where(frame.notna(), None).to_dict("records"), films, options)


def test_a_table_without_the_column_is_named(table: pa.Table, options: Options) -> None:
    with pytest.raises(DataError, match="no column 'uri'; there are path, label"):
        predictor(**options)(table)


@pytest.mark.slow
def test_spark_maps_frames(
    table: pa.Table, films: list[str], options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyspark = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs java, which is not installed")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]))
    builder = pyspark.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    try:
        frame = spark.createDataFrame(table.to_pandas()).coalesce(1)
        function = predictor("path", **options)
        schema = function.spark_schema(frame)
        for answer in (
            frame.mapInPandas(function.in_pandas, schema),
            frame.mapInArrow(function.in_arrow, schema),
        ):
            check([row.asDict(recursive=True) for row in answer.collect()], films, options)
    finally:
        spark.stop()


def test_the_class_takes_the_words_of_the_function(options: Options) -> None:
    one, other = Predictor("path", masks=False, **options), predictor("path", masks=False, **options)
    assert vars(one) == vars(other)
