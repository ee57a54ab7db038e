"""Films that wait for an answer and answers that wait to be sent, on disk: a kill loses nothing."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pydicom.dataset import Dataset

from lungcls.errors import DataError, OptionError
from lungcls.files import PARTIAL, atomic_write

STATES: Final = ("received", "answered", "sent", "refused", "failed")
"""What a film is: waiting for its answer, answered but not yet sent, done, no chest film, or in trouble."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS films (
    id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, state TEXT NOT NULL, reason TEXT,
    received REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY, film INTEGER NOT NULL REFERENCES films(id), file TEXT NOT NULL UNIQUE,
    sent INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS films_by_state ON films(state, next_try);
CREATE INDEX IF NOT EXISTS answers_by_film ON answers(film);
"""
_UID: Final = re.compile(r"[0-9.]{1,64}")
_LONGEST_WAIT: Final = 300.0


@dataclass(frozen=True, slots=True)
class QueuedFilm:
    """A film of the queue: its SOP Instance UID and its file, which is gone once it is done with."""

    id: int
    uid: str
    path: Path
    attempts: int


class FilmQueue:
    """A folder with a SQLite database, the films that wait and the answers that wait.

    The database knows UIDs, states and times, and nothing of a patient. Files of films and answers are
    removed when they are done with; UIDs stay, so that a film that is sent again is not answered again.

    Parameters
    ----------
    folder : Path
        Made if missing; one process at a time has it.

    Raises
    ------
    OptionError
        If another process has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("films", "answers"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._holder = open(folder / "lock", "w")  # noqa: SIM115 - held as long as the queue is open
        try:
            fcntl.flock(self._holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._holder.close()
            raise OptionError(
                f"{folder}: another process works on this queue, expected to be alone; stop it, or name "
                "another folder with --queue"
            ) from error
        self._lock = threading.Lock()
        self._database = sqlite3.connect(folder / "queue.sqlite", check_same_thread=False, timeout=30)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)
        self._remove_orphans()

    def __enter__(self) -> FilmQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the folder free."""
        with self._lock:
            self._database.close()
        self._holder.close()

    def add(self, uid: str, data: bytes) -> bool:
        """Take in a film; when this returns, it is on disk.

        Parameters
        ----------
        uid : str
            SOP Instance UID.
        data : bytes
            The whole DICOM file.

        Returns
        -------
        bool
            False where the queue has or had a film of this UID.

        Raises
        ------
        DataError
            If the UID is none.
        """
        if not _UID.fullmatch(uid):
            raise DataError(
                "found a SOP Instance UID of other characters than digits and dots, expected a UID"
            )
        with self._lock:
            if self._database.execute("SELECT 1 FROM films WHERE uid = ?", (uid,)).fetchone():
                return False
            _write_durably(self._film(uid), data)
            with self._database:
                self._database.execute(
                    "INSERT INTO films (uid, state, received) VALUES (?, 'received', ?)", (uid, time.time())
                )
            return True

    def to_answer(self, limit: int) -> list[QueuedFilm]:
        """Return the films that wait longest for an answer."""
        return self._films("state = 'received'", limit)

    def to_send(self, limit: int) -> list[QueuedFilm]:
        """Return films whose answers are due to be sent."""
        return self._films(f"state = 'answered' AND next_try <= {time.time():.3f}", limit)

    def answers(self, film: QueuedFilm) -> list[Path]:
        """Return the files of a film's answer that are not yet sent, in order."""
        with self._lock:
            rows = self._database.execute(
                "SELECT file FROM answers WHERE film = ? AND NOT sent ORDER BY id", (film.id,)
            ).fetchall()
        return [self.folder / "answers" / name for (name,) in rows]

    def answer(self, film: QueuedFilm, datasets: Mapping[str, Dataset]) -> None:
        """Keep a film's answer until it is sent; the film itself is removed."""
        names = []
        for kind, dataset in datasets.items():
            names.append(f"{film.uid}.{kind}.dcm")
            with atomic_write(self.folder / "answers" / names[-1]) as file:
                dataset.save_as(file, enforce_file_format=True)
                file.flush()
                os.fsync(file.fileno())
        with self._lock, self._database:
            self._database.executemany(
                "INSERT INTO answers (film, file) VALUES (?, ?)", [(film.id, name) for name in names]
            )
            self._database.execute("UPDATE films SET state = 'answered' WHERE id = ?", (film.id,))
        film.path.unlink(missing_ok=True)

    def sent(self, film: QueuedFilm, file: Path) -> None:
        """Note that one file of an answer has arrived; with the last one the film is done."""
        with self._lock, self._database:
            self._database.execute("UPDATE answers SET sent = 1 WHERE file = ?", (file.name,))
            self._database.execute(
                "UPDATE films SET state = 'sent', reason = NULL WHERE id = ? AND NOT EXISTS "
                "(SELECT 1 FROM answers WHERE film = films.id AND NOT sent)",
                (film.id,),
            )
        file.unlink(missing_ok=True)

    def postpone(self, film: QueuedFilm, reason: str) -> None:
        """Try to send a film's answer again later, after twice as long each time, five minutes at most."""
        wait = min(_LONGEST_WAIT, 2.0 ** min(film.attempts, 16))
        self._set(film, "answered", reason, time.time() + wait)

    def refuse(self, film: QueuedFilm, reason: str) -> None:
        """Note that a film gets no answer, and why; it is removed."""
        self._set(film, "refused", reason)
        film.path.unlink(missing_ok=True)

    def fail(self, film: QueuedFilm, reason: str) -> None:
        """Note that a film could not be answered; it is kept for :meth:`retry`."""
        self._set(film, "failed", reason)

    def retry(self) -> int:
        """Let films that failed wait for an answer again, and all answers be sent now; return how many."""
        with self._lock, self._database:
            done = self._database.execute(
                "UPDATE films SET state = 'received', reason = NULL, attempts = 0 WHERE state = 'failed'"
            )
            self._database.execute("UPDATE films SET next_try = 0 WHERE state = 'answered'")
        return done.rowcount

    def counts(self) -> dict[str, int]:
        """Return how many films there are of each state."""
        with self._lock:
            by_state = dict(
                self._database.execute("SELECT state, COUNT(*) FROM films GROUP BY state").fetchall()
            )
        return {state: int(by_state.get(state, 0)) for state in STATES}

    def troubles(self, limit: int = 50) -> list[tuple[str, str, str]]:
        """Return (UID, state, reason) of films that were refused, failed or not sent, latest first."""
        with self._lock:
            return self._database.execute(
                "SELECT uid, state, reason FROM films WHERE reason IS NOT NULL ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()

    def waiting(self) -> int:
        """Return how many films are not done with."""
        counts = self.counts()
        return counts["received"] + counts["answered"]

    def _films(self, condition: str, limit: int) -> list[QueuedFilm]:
        with self._lock:
            rows = self._database.execute(
                f"SELECT id, uid, attempts FROM films WHERE {condition} ORDER BY next_try, id LIMIT ?",
                (limit,),
            ).fetchall()
        return [QueuedFilm(number, uid, self._film(uid), attempts) for number, uid, attempts in rows]

    def _set(self, film: QueuedFilm, state: str, reason: str, next_try: float = 0.0) -> None:
        with self._lock, self._database:
            self._database.execute(
                "UPDATE films SET state = ?, reason = ?, next_try = ?, attempts = attempts + 1 WHERE id = ?",
                (state, reason, next_try, film.id),
            )

    def _film(self, uid: str) -> Path:
        return self.folder / "films" / f"{uid}.dcm"

    def _remove_orphans(self) -> None:
        """Remove what a kill left between a file and its row: the sender was told of no success then."""
        waiting = self._database.execute(
            "SELECT uid FROM films WHERE state IN ('received', 'failed')"
        ).fetchall()
        answers = self._database.execute("SELECT file FROM answers WHERE NOT sent").fetchall()
        for folder, names in (
            ("films", {f"{uid}.dcm" for (uid,) in waiting}),
            ("answers", {name for (name,) in answers}),
        ):
            for path in _files(self.folder / folder):
                if path.name not in names or PARTIAL.fullmatch(path.name):
                    path.unlink()


def _files(folder: Path) -> Iterable[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


def _write_durably(path: Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    folder: Any = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
