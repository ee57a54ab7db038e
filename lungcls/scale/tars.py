"""Tar files in the layout of webdataset: members of one key (``a.png``, ``a.json``) are one sample."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final

from lungcls.errors import StorageError
from lungcls.images import SUFFIXES
from lungcls.scale.films import LARGEST, Film
from lungcls.scale.storage import Place, reason, translated

TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

SIDECARS: Final = ("json", "cls", "txt", "id")
"""Members beside a film that are carried to the output."""

_LARGEST_SIDECAR: Final = 1 << 20


def is_tar(name: str) -> bool:
    """Whether a name ends as tar files do."""
    return name.lower().endswith(TARS)


def tar_films(where: Place) -> Iterator[Film]:
    """Read a tar file from its start to its end, a sample at a time.

    Parameters
    ----------
    where : Place

    Yields
    ------
    Film
        With its bytes, the URI ``tar://MEMBER::FILE``, and as ``input`` JSON text: the ``key`` and what the
        members beside it (:data:`SIDECARS`) hold. A sample with two films is two rows. Only members that
        follow each other are one sample, as webdataset has it.

    Notes
    -----
    Where the file is none, or ends too early, the last row says so; those before it stand. Nothing is
    unpacked to a disk. A film that is a link or a device, is larger than any film, or whose name leads out of
    the archive, is a row with its problem; such members beside films are passed over.
    """
    row = 0
    key = None
    films: list[tuple[str, bytes, str | None]] = []
    beside: dict[str, Any] = {}
    try:
        with translated(where, "read"):
            raw = where.fs.open(where.path, "rb")
        with raw, tarfile.open(fileobj=raw, mode="r|*") as archive:
            for member in archive:
                name = member.name
                folder, _, base = name.rpartition("/")
                stem, _, suffix = base.partition(".")
                pictured = name.lower().endswith(SUFFIXES)
                if member.isdir() or base.startswith(".") or not (pictured or member.isfile()):
                    continue
                if (folder, stem) != key:
                    for film in _sample(where, row, key, films, beside):
                        yield film
                        row += 1
                    key, films, beside = (folder, stem), [], {}
                if pictured or not suffix:
                    problem = _problem(member, LARGEST)
                    films.append((name, b"" if problem else _content(archive, member), problem))
                elif suffix.lower() in SIDECARS and not _problem(member, _LARGEST_SIDECAR):
                    beside[suffix.lower()] = _value(suffix.lower(), _content(archive, member))
            for film in _sample(where, row, key, films, beside):
                yield film
                row += 1
    except (tarfile.TarError, EOFError, OSError, StorageError) as error:
        for film in _sample(where, row, key, films, beside):
            yield film
            row += 1
        problem = f"{where.uri}: this tar file cannot be read from here on ({reason(error)})"
        yield Film(row, where.uri, problem=problem)


def _sample(
    where: Place,
    row: int,
    key: tuple[str, str] | None,
    films: list[tuple[str, bytes, str | None]],
    beside: dict[str, Any],
) -> Iterator[Film]:
    if key is None:
        return
    text = json.dumps({"key": "/".join(part for part in key if part), **beside}, ensure_ascii=False)
    for number, (name, content, problem) in enumerate(films, row):
        yield Film(number, f"tar://{name}::{where.uri}", text, content, problem)


def _problem(member: tarfile.TarInfo, most: int) -> str | None:
    """Say why a member is not read, or None."""
    if not member.isfile():
        return f"{member.name}: this member of the tar file is a link or a device, which is not followed"
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return f"{member.name}: the name of this member leads out of the tar file"
    if member.size > most:
        return f"{member.name}: this member has {member.size >> 20} MiB, more than any film ({most >> 20})"
    return None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _value(suffix: str, content: bytes) -> Any:
    text = content.decode("utf-8", errors="replace")
    if suffix == "json":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text.strip()
