"""The films of a shard: where each lies, and its bytes when a reader wants them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from lungcls.errors import FilmError
from lungcls.imagefiles import most_bytes
from lungcls.pixels import MAX_MEGAPIXELS
from lungcls.scale.storage import fetch, is_remote, place, reason

CONNECTIONS = 32
"""Films that a worker fetches at the same time."""

LARGEST: Final = int(most_bytes(MAX_MEGAPIXELS * 1e6))
"""Bytes of the largest film that is taken out of an archive, whatever the archive says it inflates to."""


@dataclass(frozen=True, slots=True)
class Film:
    """One row of the input.

    Attributes
    ----------
    row : int
        Its number in the manifest or listing, or in its tar file.
    uri : str or None
    input : object
        What else the row holds.
    content : bytes or str or None
        The film's bytes where they are at hand; what is wrong with the row, where something is.
    """

    row: int
    uri: str | None
    input: Any = None
    content: bytes | None = None
    problem: str | None = None


class Source:
    """A film as an open file whose bytes are fetched by another thread; :func:`lungcls.read_image` reads it.

    Parameters
    ----------
    name : str
        What messages call it.
    content : callable
        Returns the bytes.
    """

    def __init__(self, name: str, content: Callable[[], bytes]) -> None:
        self.name = name
        self._content = content

    def read(self) -> bytes:
        """Return the film's bytes.

        Raises
        ------
        FilmError
            If the row names no film or it cannot be fetched.
        """
        return self._content()


def sources(
    films: Iterable[Film], root: str, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[Film, str | Source]]:
    """Give each film in the form in which the pipeline reads it; remote ones are fetched ahead.

    Parameters
    ----------
    films : iterable of Film
        Read no further than `ahead` films before they are asked for.
    root : str
        What relative paths are below.
    pool : ThreadPoolExecutor
        Fetches.
    ahead : int
        Films that are fetched or wait as bytes; memory grows with it.

    Yields
    ------
    film : Film
    source : str or Source
        A path on this machine, which the pipeline reads itself, or a file.
    """
    waiting: deque[tuple[Film, str | Source]] = deque()
    for film in films:
        waiting.append((film, _source(film, root, pool)))
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def resolve(uri: str, root: str) -> str:
    """Return a path or URI of a manifest, relative paths below `root`."""
    if "://" in uri or "::" in uri or os.path.isabs(uri) or not root:
        return uri
    return f"{root.rstrip('/')}/{uri}"


def _source(film: Film, root: str, pool: ThreadPoolExecutor) -> str | Source:
    if film.problem or not film.uri or not film.uri.strip():
        problem = film.problem or "the row names no film: its URI is empty"
        return Source("<row>", lambda: _raise(FilmError(problem)))
    if film.content is not None:
        content = film.content
        return Source(film.uri, lambda: content)
    uri = resolve(film.uri, root)
    if not is_remote(uri) and "::" not in uri:
        return uri.removeprefix("file://")
    task: Future[bytes] = pool.submit(_fetch, uri)
    return Source(uri, task.result)


def _fetch(uri: str) -> bytes:
    try:
        where = place(uri)
        if "::" not in uri:
            return fetch(where.fs, where.path)
        content = fetch(where.fs, where.path, LARGEST + 1)
        if len(content) > LARGEST:
            raise OSError(f"the member has more than {LARGEST >> 20} MiB, which no film needs")
        return content
    except Exception as error:
        # Whatever a file system or its client raises costs this film, and no other.
        raise FilmError(f"{uri} cannot be fetched: {reason(error)}") from error


def _raise(error: Exception) -> bytes:
    raise error
