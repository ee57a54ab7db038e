"""What a run has written: counted, queried in SQL, and joined in one table."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from lungcls.errors import DataError, MissingExtraError
from lungcls.scale.shards import ShardFolder
from lungcls.scale.storage import Place, place, reason, translated

if TYPE_CHECKING:
    import duckdb

_READERS: Final = 16


@dataclass(frozen=True)
class Counts:
    """How many rows are what.

    Attributes
    ----------
    rows, shards : int
    labels : dict of str to int
        Rows by label; those without one, though nothing failed, as ``(none)``.
    reasons : dict of str to int
        Rows by what is wrong with the film or its mask; a row can have several.
    errors : dict of str to int
        Rows without an answer, by the kind of error.
    """

    rows: int
    shards: int
    labels: dict[str, int]
    reasons: dict[str, int]
    errors: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-safe values."""
        return asdict(self)


def count_rows(folder: str | os.PathLike[str]) -> Counts:
    """Count the rows of all shards that are there.

    Parameters
    ----------
    folder : path or URI

    Raises
    ------
    DataError
        If a shard is damaged.
    """
    rows = 0
    labels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    shards = ShardFolder(os.fspath(folder))
    done = sorted(shards.done())

    def read(index: int) -> pa.Table:
        return read_shard(shards.shard(index), ["label", "error_kind", "reasons"])

    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(done), _READERS):
            for table in pool.map(read, done[start : start + _READERS]):
                rows += table.num_rows
                failed = table["error_kind"].is_valid()
                errors.update(_values(table["error_kind"].filter(failed)))
                labels.update(_values(table["label"].filter(pc.invert(failed))))
                names = pc.struct_field(pc.list_flatten(table["reasons"].combine_chunks()), "name")
                reasons.update(_values(names))
    sort = [dict(sorted(counter.items())) for counter in (labels, reasons, errors)]
    return Counts(rows, len(done), *sort)


def read_shard(file: Place, columns: list[str] | None = None) -> pa.Table:
    """Read a shard.

    Raises
    ------
    DataError
        If it is damaged.
    StorageError
        If it cannot be read.
    """
    with translated(file, "read"), file.fs.open(file.path, "rb") as raw:
        try:
            return pq.ParquetFile(raw).read(columns)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{file.uri}: this shard is damaged ({reason(error)}); delete it and start the run again"
            ) from error


def query(folder: str | os.PathLike[str], sql: str) -> pa.Table:
    """Ask the rows of a run, in DuckDB's SQL, where they are the table ``results``.

    Parameters
    ----------
    folder : path or URI
    sql : str
        Such as ``SELECT label, count(*) FROM results GROUP BY label``.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    DataError
        If the folder holds no shards, or DuckDB does not understand the query.
    MissingExtraError
        If duckdb is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("duckdb", "scale", "a query") from error
    import pyarrow.dataset

    shards = ShardFolder(os.fspath(folder))
    done = sorted(shards.done())
    if not done:
        raise DataError(f"{shards.uri}: there are no shards in it; expected the folder of a run")
    root = shards.root
    connection = duckdb.connect()
    try:
        if root.local:
            # DuckDB's own reader takes only the columns and rows that it needs.
            pattern = os.path.join(root.path, "shards", "part-*.parquet").replace("'", "''")
            connection.execute(f"CREATE VIEW results AS SELECT * FROM read_parquet('{pattern}')")
        else:
            paths = [shards.shard(index).path for index in done]
            dataset = pyarrow.dataset.dataset(paths, filesystem=root.fs, format="parquet")
            connection.register("results", dataset)
        return _ask(connection, sql)
    except duckdb.Error as error:
        raise DataError(f"the query cannot be answered: {error}") from error
    finally:
        connection.close()


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    relation = connection.sql(sql)
    if relation is None:
        raise DataError(f"this is no question about the rows: {sql}")
    return relation.to_arrow_table()


def write_errors(folder: str | os.PathLike[str], target: str | os.PathLike[str]) -> int:
    """Write the rows that have an error as a manifest in Parquet: URI, error, and what the input said.

    Parameters
    ----------
    folder, target : path or URI

    Returns
    -------
    int
        Rows; without any there is no file.

    Raises
    ------
    DataError
        If the folder holds no shards, or the target does not end in ``.parquet``.
    StorageError
        If a file cannot be read or written.
    """
    file = place(target)
    if not file.path.lower().endswith(".parquet"):
        raise DataError(f"{file.uri}: expected a name that ends in .parquet")
    rows = query(folder, "SELECT * FROM results WHERE error_kind IS NOT NULL ORDER BY shard, row")
    columns = ["uri", "error_kind", "error"] + ["input"] * ("input" in rows.column_names)
    if rows.num_rows:
        with file.write() as raw:
            pq.write_table(rows.select(columns), raw)
    return int(rows.num_rows)


def merge(folder: str | os.PathLike[str], target: str | os.PathLike[str], *, partial: bool = False) -> int:
    """Join the shards of a run in one file, in their order, a shard in memory at a time.

    Parameters
    ----------
    folder : path or URI
    target : path or URI
        ``.parquet`` keeps all; ``.csv`` and ``.jsonl`` leave the masks out; CSV has a column a class, and
        lists as JSON text.
    partial : bool, default=False
        Whether a run that has not ended will do.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    DataError
        If the run has not ended, a shard is damaged, or the target's suffix is another.
    StorageError
        If a file cannot be read or written.
    """
    shards = ShardFolder(os.fspath(folder))
    about = shards.about()
    counts = shards.counts()
    done = sorted(shards.done())
    if not done:
        raise DataError(f"{shards.uri}: there are no shards in it")
    if counts is None and not partial:
        raise DataError(
            f"{shards.uri}: this run has not ended ({len(done)} shards are there); start it again to go "
            "on, or merge what is there with --partial"
        )
    file = place(target)
    suffix = os.path.splitext(file.path)[1].lower()
    write = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_jsonl}.get(suffix)
    if write is None:
        raise DataError(f"{file.uri}: expected a name that ends in .parquet, .csv or .jsonl")
    tables = (read_shard(shards.shard(index)) for index in done)
    with file.write() as raw:
        rows = write(raw, tables, {b"lungcls.run": json.dumps(about).encode()})
    if counts is not None and rows != counts["rows"]:
        raise DataError(f"{shards.uri}: there are {rows} rows, and {counts['rows']} when the run ended")
    return rows


def _write_parquet(raw: Any, tables: Iterator[pa.Table], about: dict[bytes, bytes]) -> int:
    rows = 0
    writer = None
    for table in tables:
        if writer is None:
            schema = table.schema.with_metadata({**(table.schema.metadata or {}), **about})
            writer = pq.ParquetWriter(raw, schema, compression="zstd")
        writer.write_table(table.replace_schema_metadata(writer.schema.metadata))
        rows += table.num_rows
    if writer is not None:
        writer.close()
    return rows


def _write_csv(raw: Any, tables: Iterator[pa.Table], about: dict[bytes, bytes]) -> int:
    rows = 0
    writer = None
    for table in tables:
        flat = _flat(table)
        writer = writer or pyarrow.csv.CSVWriter(raw, flat.schema)
        writer.write_table(flat)
        rows += table.num_rows
    if writer is not None:
        writer.close()
    return rows


def _write_jsonl(raw: Any, tables: Iterator[pa.Table], about: dict[bytes, bytes]) -> int:
    rows = 0
    for table in tables:
        for row in _without_masks(table).to_pylist(maps_as_pydicts="strict"):
            raw.write((json.dumps(row, ensure_ascii=False, default=str) + "\n").encode())
            rows += 1
    return rows


def _without_masks(table: pa.Table) -> pa.Table:
    return table.drop_columns(["mask"]) if "mask" in table.column_names else table


def _flat(table: pa.Table) -> pa.Table:
    """Structs as a column a field (``probabilities.COVID``), lists and maps as JSON text."""
    table = _without_masks(table)
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    columns = []
    for name, column in zip(table.column_names, table.columns):
        if pa.types.is_nested(column.type):
            values = column.to_pylist(maps_as_pydicts="strict")
            column = pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
        elif pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns.append((name, column))
    return pa.table(dict(columns))


def _values(column: Any) -> dict[str, int]:
    counts = pc.value_counts(column.cast(pa.string()))
    pairs = [(pair["values"], pair["counts"]) for pair in counts.to_pylist()]
    return {"(none)" if name is None else name: count for name, count in pairs}
