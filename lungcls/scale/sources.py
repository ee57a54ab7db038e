"""From the words of a user to shards of films: manifests, folders and patterns, tar files and zip files."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from lungcls.errors import DataError, ImageError
from lungcls.images import SUFFIXES, find_images
from lungcls.scale.films import Film
from lungcls.scale.manifests import Manifest, manifest_format
from lungcls.scale.storage import Place, is_remote, place
from lungcls.scale.tars import is_tar, tar_films


@dataclass(frozen=True)
class RowShard:
    """Rows of a manifest or listing that one worker does.

    Attributes
    ----------
    index : int
        Its number; the output has the same.
    first : int
        Number of its first row.
    rows : pyarrow.Table
        With the columns of :data:`lungcls.scale.manifests.COLUMNS`.
    """

    index: int
    first: int
    rows: pa.Table

    def films(self) -> Iterator[Film]:
        """Return the films, in order."""
        for number, row in enumerate(self.rows.to_pylist(), self.first):
            yield Film(number, row["uri"], row.get("input"), None, row["problem"])


@dataclass(frozen=True)
class TarShard:
    """A tar file that one worker does; its rows are counted within it."""

    index: int
    uri: str

    def films(self) -> Iterator[Film]:
        """Return the films as they come in the file; see :func:`lungcls.scale.tars.tar_films`."""
        return tar_films(place(self.uri))


Shard: TypeAlias = "RowShard | TarShard"


class Input(Protocol):
    """What shards come from."""

    @property
    def input_type(self) -> pa.DataType | None:
        """Type of the column ``input``."""

    @property
    def total(self) -> int | None:
        """Rows in all, where that is known."""

    @property
    def shard_count(self) -> int | None:
        """Shards in all, where that is known."""

    def identity(self) -> dict[str, Any]:
        """Return what tells this input from another one."""

    def shards(self, done: Container[int]) -> Iterator[Shard]:
        """Return those that are not done, in order, each when it is asked for."""


@dataclass(frozen=True)
class ManifestInput:
    """Shards of so many rows each."""

    manifest: Manifest
    rows_per_shard: int
    words: tuple[str, ...] = ()

    @property
    def input_type(self) -> pa.DataType | None:
        """Type of the column ``input``."""
        return self.manifest.input_type

    @property
    def total(self) -> int | None:
        """Rows in all, where that is known."""
        return self.manifest.total

    @property
    def shard_count(self) -> int | None:
        """Shards in all, where that is known."""
        return None if self.total is None else -(-self.total // self.rows_per_shard)

    def identity(self) -> dict[str, Any]:
        """Return the files with their sizes and times, or the words of what was listed."""
        if self.words:
            return {"listed": list(self.words), "rows_per_shard": self.rows_per_shard}
        files = [file.identity() for file in self.manifest.files]
        return {"manifests": files, "column": self.manifest.uri_column, "rows_per_shard": self.rows_per_shard}

    def shards(self, done: Container[int]) -> Iterator[RowShard]:
        """Return those that are not done, in order, each when its rows have been read."""
        size = self.rows_per_shard

        def skip(first: int, end: int) -> bool:
            return all(index in done for index in range(first // size, -(-end // size)))

        waiting: list[pa.Table] = []
        count = 0
        index = 0
        for first, batch in self.manifest.batches(skip):
            start = 0
            while start < batch.num_rows:
                index, offset = divmod(first + start, size)
                length = min(size - offset, batch.num_rows - start)
                if index not in done:
                    waiting.append(batch.slice(start, length))
                    count += length
                start += length
                if count and offset + length == size:
                    yield RowShard(index, index * size, pa.concat_tables(waiting).combine_chunks())
                    waiting, count = [], 0
        if waiting:
            yield RowShard(index, index * size, pa.concat_tables(waiting).combine_chunks())


@dataclass(frozen=True)
class TarInput:
    """One shard a tar file."""

    files: tuple[Place, ...]

    @property
    def input_type(self) -> pa.DataType | None:
        """JSON text."""
        return pa.string()

    @property
    def total(self) -> int | None:
        """Nobody knows before the files are read."""
        return None

    @property
    def shard_count(self) -> int | None:
        """As many as files."""
        return len(self.files)

    def identity(self) -> dict[str, Any]:
        """Return the names of the files."""
        return {"tars": [file.uri for file in self.files]}

    def shards(self, done: Container[int]) -> Iterator[TarShard]:
        """Return those that are not done, in order."""
        for index, file in enumerate(self.files):
            if index not in done:
                yield TarShard(index, file.uri)


def open_input(
    words: Sequence[str], listing: Place, *, column: str | None = None, rows_per_shard: int = 1024
) -> Input:
    """Return the shards that a user's words stand for.

    Parameters
    ----------
    words : sequence of str
        Manifests (.parquet, .csv, .jsonl, packed by gzip or not), tar files or zip files, by path, URI or
        pattern; or folders, patterns and images. All of one run are of one kind.
    listing : Place
        Where the list of a folder's, a pattern's or a zip file's films is kept, so that a second start works
        on the same rows. A manifest is never listed.
    column : str, optional
        The manifests' column of URIs.
    rows_per_shard : int, default=1024
        Of all but tar files, each of which is one shard.

    Raises
    ------
    DataError
        If there is nothing, or several kinds of things.
    StorageError
        If a place cannot be read.
    """
    if rows_per_shard < 1:
        raise ValueError(f"rows_per_shard is {rows_per_shard}; expected at least 1")
    kinds = {word: _kind(word) for word in words}
    if len(set(kinds.values())) != 1:
        text = ", ".join(f"{word} ({kind})" for word, kind in kinds.items())
        raise DataError(f"<inputs>: {text or 'nothing'}; expected inputs of one kind, start a run for each")
    kind = kinds[words[0]]
    if column is not None and kind != "manifest":
        raise DataError(f"{words[0]}: a column of URIs ({column!r}) is one of a manifest's; this is a {kind}")
    if kind == "tar":
        return TarInput(tuple(file for word in words for file in _matches(word)))
    if kind == "manifest":
        return ManifestInput(
            Manifest([file for word in words for file in _matches(word)], column), rows_per_shard
        )
    if not listing.exists():
        _write_listing(listing, [uri for word in words for uri in _listed(word)])
    return ManifestInput(Manifest([listing], "uri"), rows_per_shard, tuple(words))


def input_root(words: Sequence[str]) -> str:
    """Return the folder that relative paths of a manifest are below: the one that it lies in."""
    first = words[0] if words else ""
    return first.rsplit("/", 1)[0] if manifest_format(first) and "/" in first else ""


def _kind(word: str) -> str:
    if manifest_format(word):
        return "manifest"
    if is_tar(word):
        return "tar"
    return "zip" if word.lower().endswith(".zip") else "list of films"


def _matches(word: str) -> list[Place]:
    where = place(word)
    if not any(sign in where.path for sign in "*?["):
        return [where]
    matches = sorted(map(str, where.fs.glob(where.path)))
    if not matches:
        raise DataError(f"{word}: no file matches this pattern")
    return [
        Place(where.fs, path, path if where.local else where.fs.unstrip_protocol(path)) for path in matches
    ]


def _listed(word: str) -> Iterator[str]:
    if word.lower().endswith(".zip"):
        for file in _matches(word):
            inside = place(f"zip://::{file.uri}")
            paths = sorted(path for path in inside.fs.find("") if path.lower().endswith(SUFFIXES))
            yield from (f"zip://{path}::{file.uri}" for path in paths)
    elif is_remote(word):
        where = place(word)
        magic = any(sign in where.path for sign in "*?[")
        paths = where.fs.glob(where.path) if magic else where.fs.find(where.path)
        for path in sorted(map(str, paths)):
            if path.lower().endswith(SUFFIXES) or path == where.path:
                yield where.fs.unstrip_protocol(path)
    else:
        yield from (os.path.abspath(path) for path in find_images([word]))


def _write_listing(listing: Place, uris: list[str]) -> None:
    if not uris:
        raise ImageError(f"<inputs>: no film in them, expected files with a suffix of {' '.join(SUFFIXES)}")
    buffer = pa.BufferOutputStream()
    schema = pa.schema([("uri", pa.string())])
    pq.write_table(
        pa.table({"uri": pa.array(uris, pa.string())}, schema=schema), buffer, row_group_size=65536
    )
    # Whoever starts at the same time works on the list that came first.
    listing.create(buffer.getvalue().to_pybytes())
