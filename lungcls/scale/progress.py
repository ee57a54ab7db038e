"""How far a run is: rows, rate, time left, failures by kind."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any, Final

from lungcls.scale.worker import Summary

_WINDOW: Final = 120.0


@dataclass(frozen=True)
class Snapshot:
    """How far a run is at one moment.

    Attributes
    ----------
    rows : int
        Done, in earlier starts as well (there by whole shards).
    total : int or None
        None where nobody knows before all is read.
    rate : float
        Rows a second in the last two minutes.
    seconds_left : float or None
    shards : int
        Done, in earlier starts as well.
    elsewhere : int
        Shards that another start works on.
    failures : dict of str to int
        Rows with an error in this start, by its kind, of the shards that are done.
    seconds : float
        Since this start.
    """

    rows: int
    total: int | None
    rate: float
    seconds_left: float | None
    shards: int
    elsewhere: int
    failures: dict[str, int]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-safe values, times and rates rounded."""
        values = asdict(self)
        for name in ("rate", "seconds_left", "seconds"):
            values[name] = None if values[name] is None else round(values[name], 1)
        return values


class Progress:
    """Counts what is done.

    Parameters
    ----------
    rows, shards : int
        Done by earlier starts.
    total : int, optional
        Rows in all.
    """

    def __init__(self, rows: int, shards: int, total: int | None) -> None:
        self._before = rows
        self._shards = shards
        self._total = total
        self._began = time.monotonic()
        self._marks: deque[tuple[float, int]] = deque([(self._began, 0)])
        self.failures: Counter[str] = Counter()
        self.elsewhere = 0
        self.finished_rows = 0

    def add(self, summary: Summary) -> None:
        """Count a shard."""
        self._shards += summary.state == "done"
        self.elsewhere += summary.state == "elsewhere"
        self.finished_rows += summary.rows
        self.failures.update(summary.failures)

    def snapshot(self, rows: int | None = None) -> Snapshot:
        """Return how far the run is, with `rows` done in this start (by default, those of whole shards)."""
        now = time.monotonic()
        count = self.finished_rows if rows is None else rows
        if now - self._marks[-1][0] >= 1:
            self._marks.append((now, count))
        while len(self._marks) > 2 and now - self._marks[1][0] > _WINDOW:
            self._marks.popleft()
        since, earlier = self._marks[0]
        rate = (count - earlier) / (now - since) if now > since else 0.0
        done = self._before + count
        left = None if self._total is None or rate <= 0 else max(0, self._total - done) / rate
        return Snapshot(
            done,
            self._total,
            rate,
            left,
            self._shards,
            self.elsewhere,
            dict(self.failures),
            now - self._began,
        )
