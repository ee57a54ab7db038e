from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("pyarrow", reason="the extra 'scale' is not installed")
pytest.importorskip("duckdb", reason="the extra 'scale' is not installed")
import pyarrow.parquet as pq

from lungcls.cli.main import app
from lungcls.cli.scale import ManyOptions
from lungcls.labels import NOTICE

Draw = Callable[..., Path]


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


@pytest.fixture(scope="module")
def folder(stages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards of a run over four films of which one is gone."""
    from PIL import Image

    from lungcls.phantom import chest_phantom

    root = tmp_path_factory.mktemp("scale")
    names = [f"{number}.png" for number in range(3)]
    for number, name in enumerate(names):
        pixels = (chest_phantom(64, seed=number).image * 255).astype("uint8")
        Image.fromarray(pixels).save(root / name)
    lines = [f"{name},site {number}\n" for number, name in enumerate([*names, "gone.png"])]
    (root / "m.csv").write_text("path,site\n" + "".join(lines))
    weights = ["--segmenter", stages["segmentation"], "--classifier", stages["classification"]]
    engine = ["--gate", "none", "--engine", "onnxruntime", "--device", "cpu"]
    words = ["predict", root / "m.csv", "-o", root / "out", "--rows-per-shard", 3, *weights, *engine]
    result = invoke(*words)
    assert result.exit_code == 1, result.output
    assert "4 rows in 2 shards" in result.output
    assert "error ImageError: 1" in result.output
    assert NOTICE in result.output
    return root


def test_counts_are_told_in_each_form(folder: Path) -> None:
    table = invoke("results", folder / "out")
    assert table.exit_code == 0
    assert ["error", "ImageError", "1"] in [line.split() for line in table.output.splitlines()]
    values = json.loads(invoke("results", folder / "out", "--format", "json").output)
    assert (values["rows"], values["shards"], values["errors"]) == (4, 2, {"ImageError": 1})
    lines = list(csv.DictReader(invoke("results", folder / "out", "--format", "csv").output.splitlines()))
    assert lines[0] == {"what": "rows", "name": "", "rows": "4"}


def test_questions_in_sql_are_answered(folder: Path) -> None:
    sql = "SELECT input.site AS site FROM results WHERE error IS NOT NULL"
    assert json.loads(invoke("results", folder / "out", "--sql", sql, "--format", "json").output) == [
        {"site": "site 3"}
    ]
    wrong = invoke("results", folder / "out", "--sql", "SELECT nothing FROM results")
    assert "the query cannot be answered" in wrong.output


def test_rows_with_errors_become_a_manifest(folder: Path) -> None:
    result = invoke("results", folder / "out", "--errors", folder / "again.parquet")
    assert "1 rows with errors" in result.output
    (row,) = pq.read_table(folder / "again.parquet").to_pylist()
    assert (row["uri"], row["error_kind"], row["input"]) == ("gone.png", "ImageError", {"site": "site 3"})


def test_shards_are_joined(folder: Path) -> None:
    for name in ("all.parquet", "all.csv", "all.jsonl"):
        assert "4 rows" in invoke("merge", folder / "out", "-o", folder / name).output
    table = pq.read_table(folder / "all.parquet")
    assert table["row"].to_pylist() == [0, 1, 2, 3]
    assert b"lungcls.run" in table.schema.metadata
    with (folder / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["input.site"] for row in rows] == [f"site {number}" for number in range(4)]
    assert float(rows[0]["probabilities.COVID"]) == pytest.approx(table["probabilities"][0].as_py()["COVID"])
    first = json.loads((folder / "all.jsonl").read_text().splitlines()[0])
    assert (first["uri"], "mask" in first) == ("0.png", False)
    assert "expected a name that ends in" in invoke("merge", folder / "out", "-o", folder / "all.txt").output


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["a.png", "folder"], False),
        (["file:///a.png"], False),
        (["s3://bucket/a.png"], True),
        (["m.CSV.gz"], True),
        (["shard.tar"], True),
        (["shard.tar.gz"], True),
        (["films.zip"], True),
    ],
)
def test_what_asks_for_shards(words: list[str], wanted: bool) -> None:
    assert ManyOptions().wanted(words, "out") is wanted
    assert ManyOptions().wanted(words, "gs://bucket/out")
    assert ManyOptions(rows_per_shard=10).wanted(words, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "need a folder for the results"),
        (["-o", "out", "--gpus-per-worker", "1"], "for Ray; name a cluster with --ray"),
        (["-o", "out", "--masks", "jpeg"], "expected rle or png"),
        (["-o", "out", "--dicom", "seg"], "shards hold tables and masks"),
    ],
)
def test_wrong_use_is_told_before_anything_is_loaded(words: list[Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("path\n")
    assert message in invoke("predict", path, *words).output
