"""The bound on the whole requests that wait or are worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lungcls.web.problems import Problem


class Places:
    """So many requests wait or are worked on; one more is refused.

    Belongs to one event loop, so that it needs no lock.

    Parameters
    ----------
    number : int
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = 0

    def check(self) -> None:
        """Refuse a request before its body is read.

        Raises
        ------
        Problem
            ``busy``, if there is no place.
        """
        if self.taken >= self.number:
            raise Problem("busy", f"{self.taken} requests are waiting or worked on; try again in a moment.")

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place.

        Raises
        ------
        Problem
            ``busy``, if there is none.
        """
        self.check()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
