from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lungcls.errors import DataError, StorageError
from lungcls.scale.manifests import Manifest, manifest_format
from lungcls.scale.sources import ManifestInput
from lungcls.scale.storage import place

ROWS = [("a.png", "x"), ("s3://b/c.png", "y"), ("d.png", "ü, z")]


def write(path: Path, rows: list[tuple[str, str]] = ROWS) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(
            pa.table({"path": [row[0] for row in rows], "site": [row[1] for row in rows]}),
            path,
            row_group_size=2,
        )
        return path
    if ".csv" in path.name:
        text = "path,site\n" + "".join(f'{uri},"{site}"\n' for uri, site in rows)
    else:
        text = "".join(json.dumps({"path": uri, "site": site}) + "\n" for uri, site in rows)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(*paths: Path, column: str | None = None, done: tuple[int, ...] = ()) -> list[tuple[int, Any]]:
    manifest = Manifest([place(path) for path in paths], column)
    return [
        (film.row, (film.uri, film.input, film.problem))
        for shard in ManifestInput(manifest, 2).shards(set(done))
        for film in shard.films()
    ]


@pytest.mark.parametrize("name", ["m.parquet", "m.csv", "m.csv.gz", "m.jsonl", "m.jsonl.gz"])
def test_each_format_gives_its_rows_with_all_their_columns(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    rows = read(path, path)
    assert [number for number, _ in rows] == [0, 1, 2, 3, 4, 5]
    for number, (uri, other, problem) in rows:
        values = json.loads(other) if isinstance(other, str) else other
        assert (uri, values, problem) == (ROWS[number % 3][0], {"site": ROWS[number % 3][1]}, None)


@pytest.mark.parametrize("name", ["m.parquet", "m.csv", "m.jsonl"])
def test_shards_that_are_done_are_left_out(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert [number for number, _ in read(path, path, done=(0,))] == [2, 3, 4, 5]
    assert [number for number, _ in read(path, path, done=(1, 2))] == [0, 1]
    assert read(path, path, done=(0, 1, 2)) == []


def test_row_groups_of_shards_that_are_done_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.parquet")
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    content[start : start + 20] = bytes(20)
    path.write_bytes(content)
    assert [number for number, _ in read(path, done=(0,))] == [2]
    with pytest.raises(DataError, match=r"m\.parquet: this Parquet file cannot be read"):
        read(path)


def test_rows_that_are_no_rows_have_a_problem_and_the_others_stand(tmp_path: Path) -> None:
    lines = tmp_path / "m.jsonl"
    lines.write_text('{"uri": "a.png"}\n{"uri": \n[1]\n{"uri": 3, "k": 1}\n{"other": 1}\n')
    rows = [row for _, row in read(lines)]
    assert rows[0] == ("a.png", None, None)
    assert "line 2 is no JSON" in rows[1][2]
    assert "line 3 is JSON of type list" in rows[2][2]
    assert "'uri' is 3, expected text" in rows[3][2]
    assert rows[4] == (None, '{"other": 1}', None)
    table = tmp_path / "m.csv"
    table.write_text("uri,site\na.png,x\nb.png\nc.png,y\n")
    rows = [row for _, row in read(table)]
    assert [row[0] for row in rows] == ["a.png", None, "c.png"]
    assert "line 3 has 1 fields, expected 2: b.png" in rows[1][2]


def test_the_column_of_uris_is_named_or_clear(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("path,url,x\na,b,c\n")
    with pytest.raises(DataError, match=r"several \(path, url\) may hold the URIs; say which with --column"):
        read(path)
    assert read(path, column="x")[0][1] == ("c", {"path": "a", "url": "b"}, None)
    with pytest.raises(DataError, match="no column 'y'; there are path, url, x"):
        read(path, column="y")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.parquet", b"PAR1 nonsense PAR1", "this Parquet file cannot be read"),
        ("m.csv", b"path\n\xff\xfe\n", "this manifest cannot be read"),
        ("m.csv", b"", r"\(it has none\)"),
        ("m.csv.gz", gzip.compress(b"path\n" + b"a\n" * 9999, mtime=0)[:-20], "this manifest cannot be read"),
        ("m.jsonl", b"path\n", "its first line is no JSON"),
    ],
)
def test_damaged_manifests_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert name in str(caught.value)


def test_a_column_of_the_wrong_type_and_differing_files(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"path": [1, 2]}), path)
    with pytest.raises(DataError, match="'path' holds int64, expected text"):
        read(path)
    other = tmp_path / "n.parquet"
    pq.write_table(pa.table({"path": ["a"], "more": [1]}), other)
    with pytest.raises(DataError, match=r"n\.parquet: its columns differ .*\(more, site\)"):
        read(write(path), other)
    with pytest.raises(DataError, match="manifests of csv and parquet in one run"):
        read(path, write(tmp_path / "m.csv"))


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.csv cannot be read: there is no such file"):
        read(tmp_path / "gone.csv")


def test_a_dictionary_column_holds_uris_too(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"path": pa.array(["a", "b", "a"]).dictionary_encode()}), path)
    assert [row[0] for _, row in read(path)] == ["a", "b", "a"]


def test_formats_by_name() -> None:
    names = ["a.PARQUET", "b.csv.gz", "c.ndjson", "d.tar", "e.png"]
    assert [manifest_format(name) for name in names] == ["parquet", "csv", "jsonl", None, None]
