"""Manifests: tables of URIs, read row after row, whatever their number.

Every reader gives batches of the same three columns (:data:`COLUMNS`), so that what follows knows no formats.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from lungcls.errors import DataError
from lungcls.scale.storage import Place, reason, translated

COLUMNS: Final = ("uri", "input", "problem")
"""Where the film lies (null: the row does not say); all else that the row holds; what is wrong with it."""

NAMES: Final = ("uri", "url", "path", "file", "image", "filename", "filepath", "image_path", "dicom_path")
"""Columns that are taken for the one of URIs where none is named."""

FORMATS: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}

_BATCH: Final = 4096

Skip: TypeAlias = Callable[[int, int], bool]
"""``skip(first, end)``: whether none of these rows is needed."""


def manifest_format(name: str) -> str | None:
    """Return ``parquet``, ``csv`` or ``jsonl`` by a file's suffix; None for other files."""
    plain = name.lower().removesuffix(".gz")
    return next((kind for suffix, kind in FORMATS.items() if plain.endswith(suffix)), None)


@dataclass(frozen=True)
class Manifest:
    """One or more files of one format with the same columns, read as one table.

    Parameters
    ----------
    files : sequence of Place
    column : str, optional
        The column of URIs; by default the one that is called as one of :data:`NAMES`.

    Raises
    ------
    DataError
        On first use: no or several columns of URIs, a wrong type, a damaged file, one of another format.
    StorageError
        If a file cannot be read.
    """

    files: Sequence[Place]
    column: str | None = None

    @cached_property
    def format(self) -> str:
        """``parquet``, ``csv`` or ``jsonl``."""
        kinds = {manifest_format(file.path) or "other" for file in self.files}
        if len(kinds) != 1:
            raise DataError(
                f"{self.files[0].uri} and others: manifests of {' and '.join(sorted(kinds))} in one run; "
                "convert them to one format, or start one run each"
            )
        return kinds.pop()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of the first file, that of the URIs included; of JSON lines only that one."""
        first = self.files[0]
        if self.format == "parquet":
            with _parquet(first) as file:
                schema = file.schema_arrow
                name = _chosen(first, schema.names, self.column)
                kind = schema.field(name).type
                plain = kind.value_type if pa.types.is_dictionary(kind) else kind
                if not (pa.types.is_string(plain) or pa.types.is_large_string(plain)):
                    raise DataError(
                        f"{first.uri}: the column {name!r} holds {kind}, expected text with URIs; name "
                        f"another with --column (there are {', '.join(schema.names)})"
                    )
                return tuple(schema.names)
        if self.format == "csv":
            with _text(first) as file:
                return tuple(next(csv.reader(file), ()))
        with _text(first) as file:
            values = _json_object(next((line for line in file if line.strip()), ""))
            if isinstance(values, str):
                raise DataError(f"{first.uri}: its first line is {values}, expected a JSON object a line")
            return (_chosen(first, list(values), self.column),)

    @cached_property
    def uri_column(self) -> str:
        """The column of URIs."""
        repeated = {name for name in self.columns if self.columns.count(name) > 1}
        if repeated:
            raise DataError(f"{self.files[0].uri}: several columns are called {', '.join(sorted(repeated))}")
        return _chosen(self.files[0], self.columns, self.column)

    @cached_property
    def input_type(self) -> pa.DataType | None:
        """Type of the column ``input``: a struct of the other columns, JSON text, or None without any."""
        if self.format == "jsonl":
            return pa.string()
        others = [name for name in self.columns if name != self.uri_column]
        if not others:
            return None
        if self.format == "csv":
            return pa.struct([(name, pa.string()) for name in others])
        with _parquet(self.files[0]) as file:
            return pa.struct([file.schema_arrow.field(name).remove_metadata() for name in others])

    @cached_property
    def total(self) -> int | None:
        """Number of rows, where that is known without reading them all."""
        if self.format != "parquet":
            return None
        total = 0
        for place in self.files:
            with _parquet(place) as file:
                total += file.metadata.num_rows
        return total

    def batches(self, skip: Skip) -> Iterator[tuple[int, pa.Table]]:
        """Read the rows in order.

        Parameters
        ----------
        skip : callable
            Rows that it says are not needed may be left out, where leaving them out saves reading.

        Yields
        ------
        first : int
            Number of the first row of the batch, over all files.
        rows : pyarrow.Table
            With the columns :data:`COLUMNS`.
        """
        schema = rows_schema(self.input_type)
        first = 0
        for place in self.files:
            if self.format == "parquet":
                first = yield from self._parquet_batches(place, first, skip, schema)
            else:
                rows = self._csv_rows(place) if self.format == "csv" else self._json_rows(place)
                first = yield from _text_batches(rows, first, schema)

    def _parquet_batches(self, place: Place, first: int, skip: Skip, schema: pa.Schema) -> Any:
        with _parquet(place) as file:
            missing = set(self.columns) ^ set(file.schema_arrow.names)
            if missing:
                raise DataError(
                    f"{place.uri}: its columns differ from those of {self.files[0].uri} "
                    f"({', '.join(sorted(missing))}); give manifests with the same columns"
                )
            for group in range(file.metadata.num_row_groups):
                end = first + file.metadata.row_group(group).num_rows
                if not skip(first, end):
                    start = first
                    for batch in file.iter_batches(_BATCH, row_groups=[group]):
                        yield start, self._parquet_rows(batch, schema)
                        start += batch.num_rows
                first = end
        return first

    def _parquet_rows(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
        count = batch.num_rows
        columns = [batch.column(self.uri_column).cast(pa.string())]
        if self.input_type is not None:
            others = [batch.column(name) for name in self.columns if name != self.uri_column]
            columns.append(pa.StructArray.from_arrays(others, fields=list(self.input_type)))
        columns.append(pa.nulls(count, pa.string()))
        return pa.Table.from_arrays(columns, schema=schema)

    def _csv_rows(self, place: Place) -> Iterator[tuple[str | None, Any, str | None]]:
        names = self.columns
        where = names.index(self.uri_column)
        with _text(place) as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            if header != names:
                raise DataError(
                    f"{place.uri}: its columns are {', '.join(header)}; those of {self.files[0].uri} are "
                    f"{', '.join(names)}; give manifests with the same columns"
                )
            for values in reader:
                if not values:
                    continue
                if len(values) != len(names):
                    problem = f"line {reader.line_num} has {len(values)} fields, expected {len(names)}"
                    yield None, None, f"{place.uri}: {problem}: {','.join(values)[:200]}"
                    continue
                rest = dict(zip(names, values))
                uri = rest.pop(names[where])
                yield uri, rest or None, None

    def _json_rows(self, place: Place) -> Iterator[tuple[str | None, Any, str | None]]:
        name = self.uri_column
        with _text(place) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                values = _json_object(line)
                if isinstance(values, str):
                    yield None, None, f"{place.uri}: line {number} is {values}: {line[:200].strip()}"
                    continue
                uri = values.pop(name, None)
                rest = json.dumps(values, ensure_ascii=False) if values else None
                if uri is not None and not isinstance(uri, str):
                    problem = f"line {number}: {name!r} is {uri!r}, expected text with a URI"
                    yield None, rest, f"{place.uri}: {problem}"
                    continue
                yield uri, rest, None


def rows_schema(input_type: pa.DataType | None) -> pa.Schema:
    """Return the schema of a manifest's batches."""
    fields = [("uri", pa.string()), ("input", input_type), ("problem", pa.string())]
    return pa.schema([(name, kind) for name, kind in fields if kind is not None])


def _text_batches(rows: Iterator[tuple[str | None, Any, str | None]], first: int, schema: pa.Schema) -> Any:
    lines: list[tuple[str | None, Any, str | None]] = []

    def table() -> pa.Table:
        values = dict(zip(COLUMNS, zip(*lines)))
        return pa.Table.from_arrays(
            [pa.array(values[field.name], field.type) for field in schema], schema=schema
        )

    for line in rows:
        lines.append(line)
        if len(lines) == _BATCH:
            yield first, table()
            first += len(lines)
            lines.clear()
    if lines:
        yield first, table()
    return first + len(lines)


def _chosen(place: Place, names: Collection[str], column: str | None) -> str:
    if column is not None:
        if column not in names:
            raise DataError(
                f"{place.uri}: there is no column {column!r}; there are {', '.join(names) or 'none'}"
            )
        return column
    likely = [name for name in names if name.lower() in NAMES]
    if len(likely) != 1:
        which = f"several ({', '.join(likely)})" if likely else "none"
        raise DataError(
            f"{place.uri}: of its columns {', '.join(names) or '(it has none)'}, {which} may hold the URIs; "
            "say which with --column"
        )
    return likely[0]


def _json_object(line: str) -> dict[str, Any] | str:
    """The object that a line holds, or what it is instead."""
    try:
        values = json.loads(line)
    except ValueError as error:
        return f"no JSON ({error})"
    return values if isinstance(values, dict) else f"JSON of type {type(values).__name__}"


class _parquet:
    """A Parquet file that is open in a block, its errors told with its name."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def __enter__(self) -> pq.ParquetFile:
        with translated(self.place, "read"):
            self._raw = self.place.fs.open(self.place.path, "rb")
        try:
            # Buffered, so that a row group of ten million rows is not read at once.
            return pq.ParquetFile(self._raw, buffer_size=1 << 20, pre_buffer=False)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._raw.close()
        if isinstance(error, (pa.ArrowException, OSError)):
            raise DataError(
                f"{self.place.uri}: this Parquet file cannot be read ({reason(error)}); write it anew"
            ) from error


class _text:
    """A text file that is open in a block, unpacked where it ends in .gz, its errors told with its name."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def __enter__(self) -> io.TextIOBase:
        with translated(self.place, "read"):
            raw: Any = self.place.fs.open(self.place.path, "rb")
        if self.place.path.lower().endswith(".gz"):
            import gzip

            raw = gzip.GzipFile(fileobj=raw)
        self._file = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
        return self._file

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._file.close()
        if isinstance(error, (UnicodeDecodeError, csv.Error, EOFError, OSError)):
            raise DataError(f"{self.place.uri}: this manifest cannot be read ({reason(error)})") from error
