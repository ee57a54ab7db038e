"""The folder of a run: its shards, which start works on which of them, and ``run.json``.

::

    run.json                        what the run is, and what came of it
    inputs.parquet                  the films that were listed, where no manifest was given
    shards/part-00000000.parquet    rows; complete as soon as it is there
    shards/part-00000000.masks.tar  their masks as PNG, where those were asked for
    claims/                         while somebody works: which start is at which shard
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from lungcls.errors import DataError
from lungcls.render.pictures import mask_picture
from lungcls.scale.storage import Place, place

LEASE: Final = 120.0
"""Seconds without a sign of life after which a start on another machine counts as dead."""

BEAT: Final = 20.0
"""Seconds between two signs of life."""

_PART: Final = re.compile(r"part-(\d{8})\.parquet")


@dataclass(frozen=True)
class ShardFolder:
    """Where a run's shards are.

    Parameters
    ----------
    uri : str
    """

    uri: str

    @property
    def root(self) -> Place:
        """The folder itself."""
        return place(self.uri)

    def shard(self, index: int) -> Place:
        """Return where a shard's rows are, or will be."""
        return self.root.below(f"shards/part-{index:08d}.parquet")

    def masks(self, index: int) -> Place:
        """Return where a shard's masks are, or will be."""
        return self.root.below(f"shards/part-{index:08d}.masks.tar")

    def done(self) -> set[int]:
        """Return the numbers of the shards that are there.

        Raises
        ------
        StorageError
            If the folder cannot be listed.
        """
        matches = (_PART.fullmatch(name) for name in self.root.below("shards").names())
        return {int(match[1]) for match in matches if match}

    def begin(self, run: dict[str, Any]) -> None:
        """Write ``run.json``, or see that the run that it tells of is this one.

        Raises
        ------
        DataError
            If the folder is of another run: another model, option, input or version.
        StorageError
            If it cannot be read or written.
        """
        file = self.root.below("run.json")
        if file.create(_json({"run": run})):
            return
        earlier = self.about()
        if changes := _changes(earlier, run):
            text = "; ".join(f"{name} was {old!r}, is {new!r}" for name, old, new in changes)
            raise DataError(
                f"{self.uri}: this folder holds another run ({text}); give another folder, or the same words "
                "as at first"
            )

    def about(self) -> dict[str, Any]:
        """Return what ``run.json`` says that the run is.

        Raises
        ------
        DataError
            If there is none, or it is damaged.
        """
        return self._stored()["run"]  # type: ignore[no-any-return]

    def counts(self) -> dict[str, Any] | None:
        """Return the counts of a run that has ended; None before."""
        return self._stored().get("counts")

    def end(self, counts: dict[str, Any]) -> None:
        """Add to ``run.json`` what came of the run, and remove the claims and what killed workers left.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        with self.root.below("run.json").write() as file:
            file.write(_json({"run": self.about(), "counts": counts}))
        self.root.below("claims").remove(recursive=True)
        shards = self.root.below("shards")
        for name in shards.names():
            if name.endswith(".part"):
                shards.below(name).remove()

    def _stored(self) -> dict[str, Any]:
        file = self.root.below("run.json")
        if not file.exists():
            raise DataError(f"{self.uri}: there is no run.json; expected the folder of a run")
        try:
            values = json.loads(file.read())
            values["run"]["schema"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file.uri}: this is no run.json of lungcls ({error!r})") from error
        return values  # type: ignore[no-any-return]


def _changes(earlier: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """What differs, by dotted name."""
    changes: list[tuple[str, Any, Any]] = []
    for name in {**earlier, **now}:
        old, new = earlier.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += _changes(old, new, f"{prefix}{name}.")
        elif old != new:
            changes.append((prefix + name, old, new))
    return changes


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


class ShardWriter:
    """Rows of one shard, written in groups; see :func:`write_shard`."""

    def __init__(self, file: Any, schema: pa.Schema, masks: tarfile.TarFile | None) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._schema = schema
        self._masks = masks

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Append rows, each a dict by column; what a row lacks is null."""
        self._writer.write_table(pa.Table.from_pylist(rows, self._schema))

    def add_mask(self, name: str, mask: np.ndarray[Any, Any]) -> None:
        """Append a bool mask [H, W] as PNG; nothing happens where there are no tar files."""
        if self._masks is None:
            return
        content = io.BytesIO()
        mask_picture(mask).save(content, "PNG")
        member = tarfile.TarInfo(name)
        member.size = content.tell()
        content.seek(0)
        self._masks.addfile(member, content)

    def close(self) -> None:
        """End the file."""
        self._writer.close()


@contextmanager
def write_shard(folder: ShardFolder, index: int, schema: pa.Schema, *, png: bool) -> Iterator[ShardWriter]:
    """Open a shard that becomes visible when the block ends: first its masks, then its rows.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    if not png:
        with folder.shard(index).write() as file:
            writer = ShardWriter(file, schema, None)
            yield writer
            writer.close()
        return
    with folder.shard(index).write() as file, folder.masks(index).write() as tar:
        with tarfile.open(fileobj=tar, mode="w") as masks:
            writer = ShardWriter(file, schema, masks)
            yield writer
        writer.close()


@dataclass
class Start:
    """One start of a run: it claims shards, and gives signs of life as long as it lasts.

    Parameters
    ----------
    folder : ShardFolder
    name : str
        Told to the workers, which claim in its name.
    """

    folder: ShardFolder
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def __enter__(self) -> Start:
        self._beat(0)
        self._thread = threading.Thread(target=self._beats, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        self._thread.join()
        self._file().remove()

    def _file(self) -> Place:
        return self.folder.root.below(f"claims/start-{self.name}.json")

    def _beat(self, number: int) -> None:
        with self._file().write() as file:
            file.write(json.dumps({**_this_process(), "beat": number}).encode())

    def _beats(self) -> None:
        number = 0
        while not self._stop.wait(BEAT):
            number += 1
            try:
                self._beat(number)
            except Exception:  # storage that is away for a moment: the next beat tells
                continue


class Claims:
    """The right to write a shard, by a file that only one start can create.

    A claim is never deleted while the run lasts. That of a dead start is followed by another file, named
    after it, which again only one can create.

    Parameters
    ----------
    folder : ShardFolder
    start : str
        Name of the start that claims.
    """

    def __init__(self, folder: ShardFolder, start: str) -> None:
        self._folder = folder
        self._start = start
        self._seen: dict[str, tuple[bytes, float]] = {}

    def claim(self, index: int) -> bool:
        """Return whether the shard is this start's to write.

        Raises
        ------
        StorageError
            If no claim can be read or written.
        """
        name = f"part-{index:08d}"
        while True:
            file = self._folder.root.below(f"claims/{name}")
            if file.create(self._start.encode()):
                return True
            holder = file.read().decode() if file.exists() else ""
            if holder == self._start:
                return True
            if not holder or self._alive(holder):
                return False
            name = f"part-{index:08d}-after-{holder}"

    def attempt(self, index: int) -> int:
        """Count how often this start has begun a shard: 1 at the first call for it, 2 at the second."""
        number = 1
        while not self._folder.root.below(f"claims/part-{index:08d}-{self._start}-{number}").create(b""):
            number += 1
        return number

    def _alive(self, start: str) -> bool:
        file = self._folder.root.below(f"claims/start-{start}.json")
        if not file.exists():
            return False
        content = file.read()
        try:
            values = json.loads(content)
        except ValueError:
            values = {}
        own = _this_process()
        if values.get("machine") == own["machine"]:
            return _runs(int(values["pid"]), float(values["began"]))
        # Clocks of machines differ: what counts is how long this process has seen no change.
        now = time.monotonic()
        before, since = self._seen.get(start, (b"", now))
        if before != content:
            since = now
        self._seen[start] = (content, since)
        return now - since < LEASE


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "began": psutil.Process().create_time(),
    }


def _machine() -> str:
    """What tells this machine, and this container on it, from others."""
    marks = [socket.gethostname()]
    with suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        marks.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(marks)


def _runs(pid: int, began: float) -> bool:
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - began) < 60)
    except psutil.NoSuchProcess:
        return False
