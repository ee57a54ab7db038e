"""The bodies of requests on their way in: a budget of their own, so that slow senders keep nobody out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from lungcls.web.problems import Problem

MIN_RATE: Final = 64_000
"""Bytes in a second that earn a body no further time, however long it takes."""


class Body:
    """One body on its way in, and what is held of it until its request is answered.

    Attributes
    ----------
    size : int
        Bytes so far.
    deadline : float
        When it is too late, on the clock of :func:`anyio.current_time`; each byte postpones it.
    whole : bool
        Whether all of it is there.
    cut : str
        The kind of problem for which it was ended before its time; empty where it was not.
    """

    def __init__(self, arrivals: Arrivals, seconds: float) -> None:
        self._arrivals = arrivals
        self.scope = anyio.CancelScope(deadline=anyio.current_time() + seconds)
        self.size = 0
        self.whole = False
        self.cut = ""

    @property
    def deadline(self) -> float:
        return self.scope.deadline

    def grow(self, size: int) -> None:
        """Count the next bytes.

        Raises
        ------
        Problem
            ``busy``, if there is no memory for them.
        """
        self._arrivals.reserve(self, size)
        self.size += size
        self.scope.deadline += size / MIN_RATE

    def end(self, problem: str) -> None:
        """Give its place and its memory to another one."""
        self.cut = problem
        self.scope.cancel()


class Arrivals:
    """The bodies that are on their way in or held.

    Where another one needs the place or the memory, the one goes whose deadline is the nearest: bodies that
    were begun and left, and those that come in drop by drop. Belongs to one event loop.

    Parameters
    ----------
    number : int
        Most bodies on their way in at the same time.
    memory : int
        Most bytes held, those of whole bodies included.
    seconds : float
        Time that a body has beside what its size needs at `MIN_RATE`.
    """

    def __init__(self, number: int, memory: int, seconds: float) -> None:
        self.number = number
        self.memory = memory
        self.seconds = seconds
        self._bodies: set[Body] = set()
        self._open = True

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return sum(body.size for body in self._bodies)

    @property
    def coming(self) -> list[Body]:
        """Bodies that are not yet whole."""
        return [body for body in self._bodies if not body.whole and not body.cut]

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Take in a body, and hold it as long as this context lasts.

        Raises
        ------
        Problem
            ``not-ready``, if the service is stopping.
        """
        if not self._open:
            raise Problem("not-ready", "The service is stopping.")
        coming = self.coming
        if len(coming) >= self.number:
            self._slowest(coming).end("upload-timeout")
        body = Body(self, self.seconds)
        self._bodies.add(body)
        try:
            yield body
        finally:
            self._bodies.discard(body)

    def reserve(self, body: Body, size: int) -> None:
        """Make sure that there is memory for so many bytes more of a body."""
        while self.held + size > self.memory:
            others = [other for other in self.coming if other is not body and other.size]
            if not others:
                raise Problem("busy", "There is no memory for this request now; try again in a moment.")
            slowest = self._slowest(others)
            slowest.end("upload-timeout")
            self._bodies.discard(slowest)

    def close(self) -> None:
        """Let no further body in, and end those that are not whole; requests that are whole go on."""
        self._open = False
        for body in self.coming:
            body.end("not-ready")

    def open(self) -> None:
        """Let bodies in again."""
        self._open = True

    @staticmethod
    def _slowest(bodies: list[Body]) -> Body:
        return min(bodies, key=lambda body: body.deadline)
