"""Writing files so that a killed process never leaves half of one under its final name."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed and none is left over for long
    fcntl = None  # type: ignore[assignment]

_DISK_FULL: Final = (errno.ENOSPC, getattr(errno, "EDQUOT", None), errno.EFBIG)

Fingerprint: TypeAlias = tuple[int, int]

PARTIAL: Final = re.compile(r"\..+\.[0-9a-f]{16}\.part")
"""Names of the temporary files of :func:`atomic_write`, which only a killed process leaves behind; the next
one that writes the same file takes them over."""


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` and move it there once all is written.

    Parameters
    ----------
    path : path-like
        Where the file shall stand; its folder is made if it is missing.
    mode : {"wb", "w"}
        Binary or text (UTF-8, newlines untouched).

    Yields
    ------
    file object
        Open for writing. On an exception it is removed and `path` is left as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    temporary, number = _reserved(target)
    lock = None if fcntl is None else os.dup(number)  # held until the file stands under its final name
    try:
        try:
            # By an opener, so that the file has a name for what is written into it.
            with open(temporary, mode, opener=lambda *_: number, **text) as file:  # type: ignore[call-overload]
                yield file
            os.replace(temporary, target)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _DISK_FULL and error.filename is None:
                error.filename = os.fspath(target)  # the system does not say which file it was
            raise
    finally:
        if lock is not None:
            os.close(lock)


def _reserved(target: Path) -> tuple[Path, int]:
    """Open an empty file beside `target`, for whom no other process writes there.

    Its name is always the same, so that what a killed process left is written over by the next one. Where
    another process or thread is writing, or the file system has no locks, it is a name of its own.
    """
    # Not tempfile, whose files are private: the result should have the permissions of any new file.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    stem = f".{target.name[:64]}"
    if fcntl is not None:
        usual = target.with_name(f"{stem}.{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.part")
        try:
            number = os.open(usual, flags | os.O_NOFOLLOW, 0o666)
        except OSError:
            pass  # a link, or another user's
        else:
            if _owned(number, usual):
                os.ftruncate(number, 0)
                return usual, number
            os.close(number)
    other = target.with_name(f"{stem}.{secrets.token_hex(8)}.part")
    return other, os.open(other, flags | os.O_EXCL, 0o666)


def _owned(number: int, path: Path) -> bool:
    """Lock an open file; tell whether that worked, and whether it still has this name and no other."""
    assert fcntl is not None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state = os.fstat(number)
        return os.path.samestat(state, os.stat(path)) and state.st_nlink == 1 and stat.S_ISREG(state.st_mode)
    except OSError:
        return False


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8), and no half of one."""
    with atomic_write(path, "w") as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], values: Any, **options: Any) -> None:
    """Write values as JSON with an indent of 1, and no half of a file; options are those of json.dumps."""
    write_text(path, json.dumps(values, **{"indent": 1, **options}) + "\n")


def write_rows(
    path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write a CSV file with one line a row, empty where a row lacks a column, and no half of a file."""
    with atomic_write(path, "w") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def fingerprint(path: str | os.PathLike[str]) -> Fingerprint | None:
    """Return size and time of change of a file; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return where what need not be found twice is kept: ``LUNGCLS_CACHE``, or the user's cache folder."""
    own = os.environ.get("LUNGCLS_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return Path(base) / "lungcls" if base else Path.home() / ".cache" / "lungcls"
