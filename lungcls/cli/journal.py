"""What a run over a folder has finished, kept line by line, so that a killed run can be continued."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

Row: TypeAlias = dict[str, Any]
Fingerprint: TypeAlias = tuple[int, int]

FORMAT: Final = 1
_PARTIAL: Final = re.compile(r"\..+\.[a-z0-9_]{8}\.part")


class Journal:
    """A file of JSON lines: first what the run is, then a finished row each.

    Parameters
    ----------
    path : path-like
        The journal; it is picked up if it is there and of the same run, and started anew otherwise.
    run : mapping
        What the rows depend on (weights, options, version), in JSON-safe values.

    Raises
    ------
    OSError
        If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], run: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._rows: dict[str, tuple[Fingerprint, Row]] = {}
        header = (json.dumps({"journal": FORMAT, **run}) + "\n").encode()
        valid = self._read(header)
        # A kill can cut the last line; what follows must not be joined to its stump.
        self._file = open(self.path, "r+b" if valid else "wb")  # noqa: SIM115 - open as long as the run
        self._file.truncate(valid)
        self._file.seek(valid)
        if not valid:
            self._file.write(header)
            self._file.flush()

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, path: str, fingerprint: Fingerprint | None) -> Row | None:
        """Return the row of an input if it was finished and the file has not changed since."""
        found = self._rows.get(os.path.abspath(path))
        return found[1] if found is not None and found[0] == fingerprint else None

    def add(self, rows: Iterable[tuple[Fingerprint, Row]]) -> None:
        """Append finished rows; a kill after this call does not lose them."""
        lines = [json.dumps({"file": [*fingerprint], "row": row}) + "\n" for fingerprint, row in rows]
        self._file.write("".join(lines).encode())
        self._file.flush()

    def close(self) -> None:
        """Close the file and leave it for the next run."""
        self._file.close()

    def remove(self) -> None:
        """Delete the file: the run's tables are written."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _read(self, header: bytes) -> int:
        """Take the rows of an earlier run; return how many bytes of the file are sound, 0 to start anew."""
        try:
            file = open(self.path, "rb")  # noqa: SIM115 - closed below; the try is about opening alone
        except FileNotFoundError:
            return 0
        with file:
            if file.readline() != header:
                return 0
            valid = file.tell()
            for line in file:
                try:
                    values = json.loads(line)
                    (size, changed), row = values["file"], values["row"]
                    self._rows[os.path.abspath(row["path"])] = ((size, changed), row)
                except (ValueError, TypeError, KeyError):
                    break
                if not line.endswith(b"\n"):
                    break
                valid += len(line)
        return valid


def fingerprint(path: str | os.PathLike[str]) -> Fingerprint | None:
    """Return size and time of change of a file; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def remove_partial_files(folders: Iterable[str | os.PathLike[str]]) -> int:
    """Delete the temporary files of killed :func:`lungcls.files.atomic_write` calls; return how many."""
    count = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if _PARTIAL.fullmatch(name):
                    Path(parent, name).unlink(missing_ok=True)
                    count += 1
    return count
