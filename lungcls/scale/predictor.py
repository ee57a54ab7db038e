"""The pipeline as a function of tables, for Ray Data, Spark and whatever else maps batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lungcls.errors import DataError
from lungcls.scale.films import CONNECTIONS, Film, sources
from lungcls.scale.schema import answer_columns, output_schema
from lungcls.scale.worker import answers, load_pipeline, weights_columns, weights_hashes

if TYPE_CHECKING:
    import pandas

    from lungcls.streaming import Streaming


class Predictor:
    """Answers tables of URIs; the networks are loaded once a process, when the first table comes.

    Instances can be pickled, and given to ``ray.data.Dataset.map_batches`` as they are; for actors, give the
    class and ``fn_constructor_kwargs``.

    Parameters
    ----------
    column : str, default="uri"
        Where a table has the films' URIs.
    root : str, default=""
        What relative paths are below.
    masks : bool, default=True
        Whether the answer has a column of masks, as COCO run lengths.
    value_range : (low, high), optional
        As in :func:`lungcls.predict`.
    **options
        Of :class:`lungcls.Pipeline`, as JSON-safe values; ``classifier`` may be a list, which makes an
        ensemble.
    """

    def __init__(
        self,
        column: str = "uri",
        *,
        root: str = "",
        masks: bool = True,
        value_range: tuple[float, float] | None = None,
        **options: Any,
    ) -> None:
        self.column = column
        self.root = root
        self.masks = masks
        self.value_range = value_range
        self.options = options

    def __call__(self, batch: Any) -> Any:
        """Answer one table.

        Parameters
        ----------
        batch : pyarrow.Table, pyarrow.RecordBatch, pandas.DataFrame or dict of arrays

        Returns
        -------
        pyarrow.Table or pandas.DataFrame
            A DataFrame for one. The columns of :func:`lungcls.scale.output_schema` without ``shard`` and
            ``row``: the table's other columns are the struct ``input``. A film that cannot be read is a row
            with its error.

        Raises
        ------
        DataError
            If the table has no such column.
        """
        frame = hasattr(batch, "to_records")
        if frame:
            table = pa.Table.from_pandas(batch, preserve_index=False)
        elif isinstance(batch, pa.RecordBatch):
            table = pa.Table.from_batches([batch])
        else:
            table = batch if isinstance(batch, pa.Table) else pa.table(dict(batch))
        answer = self._answer(table)
        return answer.to_pandas(maps_as_pydicts="strict") if frame else answer

    def in_pandas(self, frames: Iterator[pandas.DataFrame]) -> Iterator[pandas.DataFrame]:
        """Answer one table after the other, as Spark's ``mapInPandas`` wants it."""
        for frame in frames:
            yield self(frame)

    def in_arrow(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Answer one table after the other, as Spark's ``mapInArrow`` wants it."""
        for batch in batches:
            yield from self(batch).to_batches()

    def schema(self, table: pa.Schema) -> pa.Schema:
        """Return the columns of the answer to tables of a schema.

        Raises
        ------
        DataError
            If these tables have no such column.
        """
        if self.column not in table.names:
            raise DataError(f"there is no column {self.column!r}; there are {', '.join(table.names)}")
        others = [field for field in table if field.name != self.column]
        classes = self._pipeline().classifier.card.classes
        full = output_schema(classes, pa.struct(others) if others else None, rle=self.masks)
        return pa.schema(
            [field.with_type(_plain(field.type)) for field in full if field.name not in ("shard", "row")]
        )

    def spark_schema(self, frame: Any) -> Any:
        """Return the answer's schema for ``frame.mapInPandas(predictor.in_pandas, schema)``.

        Parameters
        ----------
        frame : pyspark.sql.DataFrame
        """
        from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

        return from_arrow_schema(self.schema(to_arrow_schema(frame.schema)))

    def _pipeline(self) -> Streaming:
        return _loaded(json.dumps(self.options, sort_keys=True))

    def _answer(self, table: pa.Table) -> pa.Table:
        pipeline = self._pipeline()
        schema = self.schema(table.schema)
        hashes = weights_hashes(pipeline)
        uris = table[self.column].cast(pa.string()).to_pylist()
        films = (Film(number, uri) for number, uri in enumerate(uris))
        rows = []
        with ThreadPoolExecutor(CONNECTIONS, "fetch") as pool:
            pairs = sources(films, self.root, pool, 2 * pipeline.batch_size + CONNECTIONS)
            for film, answer in answers(pipeline, pairs, self.value_range):
                row = {"uri": film.uri, **answer_columns(answer, rle=self.masks)}
                rows.append({**row, **weights_columns(hashes, row.get("classifier"))})
        names = [name for name in schema.names if name != "input"]
        columns = pa.Table.from_pylist(rows, pa.schema([schema.field(name) for name in names]))
        if "input" not in schema.names:
            return columns
        others = table.drop_columns([self.column]).combine_chunks()
        struct = others.to_struct_array().combine_chunks() if len(others) else []
        return columns.append_column(schema.field("input"), pa.array(struct, schema.field("input").type))


def predictor(column: str = "uri", **options: Any) -> Predictor:
    """Return a function of tables that classifies the films in them; parameters as :class:`Predictor`.

    Returns
    -------
    Predictor

    Examples
    --------
    >>> films = ray.data.read_parquet("s3://bucket/manifest.parquet")  # doctest: +SKIP
    >>> films.map_batches(predictor("path"), batch_format="pyarrow")  # doctest: +SKIP
    """
    return Predictor(column, **options)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Text in place of dictionaries and lists in place of those of fixed size, which not all engines take."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    return kind


@lru_cache(maxsize=2)
def _loaded(options: str) -> Streaming:
    return load_pipeline(json.loads(options))
