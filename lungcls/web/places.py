"""The bound on the requests that are in the house."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lungcls.web.problems import Problem


class Places:
    """So many requests are read, wait or are worked on; one more is refused before its body is read.

    Belongs to one event loop, so that it needs no lock.

    Parameters
    ----------
    number : int
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place.

        Raises
        ------
        Problem
            ``busy``, if there is none.
        """
        if self.taken >= self.number:
            raise Problem("busy", f"{self.taken} requests are waiting or worked on; try again in a moment.")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
