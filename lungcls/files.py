"""Writing files so that a killed process never leaves half of one under its final name."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

Fingerprint: TypeAlias = tuple[int, int]

PARTIAL: Final = re.compile(r"\..+\.[0-9a-f]{16}\.part")
"""Names of the temporary files of :func:`atomic_write`, which only a killed process leaves behind."""


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
    # Not tempfile, whose files are private: the result should have the permissions of any new file.
    temporary = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}.part")
    try:
        with open(temporary, mode.replace("w", "x"), **text) as file:  # type: ignore[call-overload]
            yield file
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
