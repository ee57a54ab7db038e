"""What a run over a folder has finished, kept line by line, so that a killed run can be continued."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from lungcls.files import PARTIAL, Fingerprint

Row: TypeAlias = dict[str, Any]

FORMAT: Final = 2


class Journal:
    """A file of JSON lines: first what the run is, then a finished row each, by the name of its pictures.

    Two inputs of the same name in two folders give pictures of the same name, so that the row of the one ends
    where the other is begun.

    Parameters
    ----------
    path : path-like
        The journal; it is picked up if it is there and of the same run, and started anew otherwise.
    run : mapping
        What the rows depend on (weights, options, version), in JSON-safe values.

    Attributes
    ----------
    replaced : bool
        Whether there was a journal of another run, which this one took the place of.

    Raises
    ------
    OSError
        If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], run: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._rows: dict[str, tuple[Fingerprint, Row]] = {}
        header = (json.dumps({"journal": FORMAT, **run}) + "\n").encode()
        self.replaced = self.path.exists()
        valid = self._read(header)
        self.replaced = self.replaced and not valid
        # A kill can cut the last line; what follows must not be joined to its stump.
        self._file = open(self.path, "r+b" if valid else "wb")  # noqa: SIM115 - open as long as the run
        self._file.truncate(valid)
        self._file.seek(valid)
        if not valid:
            self._file.write(header)
            self._file.flush()

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, picture: str, path: str, fingerprint: Fingerprint | None) -> Row | None:
        """Return the row of an input if it was finished and the file has not changed since."""
        state, row = self._rows.get(picture, (None, None))
        return row if row is not None and state == fingerprint and row["path"] == path else None

    def forget(self, pictures: Iterable[str]) -> None:
        """Give up the rows, if there are any, whose pictures are about to be drawn anew."""
        forgotten = [picture for picture in pictures if self._rows.pop(picture, None)]
        self._append({"picture": picture} for picture in forgotten)

    def add(self, rows: Iterable[tuple[str, Fingerprint, Row]]) -> None:
        """Append finished rows; a kill after this call does not lose them."""
        self._append({"picture": name, "file": [*state], "row": row} for name, state, row in rows)

    def _append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
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
                    self._rows.pop(values["picture"], None)
                    if "row" in values:
                        size, changed = values["file"]
                        self._rows[values["picture"]] = ((size, changed), values["row"])
                except (ValueError, TypeError, KeyError):
                    break
                if not line.endswith(b"\n"):
                    break
                valid += len(line)
        return valid


def journal_name(name: str) -> str:
    """Return the file name of the journal of the tables called `name`."""
    return f".{name}.journal.jsonl"


def remove_partial_files(folders: Iterable[str | os.PathLike[str]]) -> int:
    """Delete the temporary files of killed :func:`lungcls.files.atomic_write` calls; return how many."""
    count = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if PARTIAL.fullmatch(name):
                    Path(parent, name).unlink(missing_ok=True)
                    count += 1
    return count
