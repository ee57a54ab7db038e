"""How far a long step is: the one type that all of lungcls takes, nothing by default, a bar for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Progress = Callable[[Iterable[T], int, str], Iterable[T]]
"""Wraps an iterable of known length and shows how far it is: ``progress(items, total, text)``."""

Tell: TypeAlias = Callable[[str], None]
"""Takes one line about what is done, for those who wait."""


def silent(text: str) -> None:
    """Tell nobody: the default."""


@contextmanager
def timed(tell: Tell, text: str) -> Iterator[None]:
    """Tell what was done, and in how many seconds, once it is done."""
    start = time.perf_counter()
    yield
    tell(f"{text}, {time.perf_counter() - start:.0f} s")


def quiet(items: Iterable[T], total: int, text: str) -> Iterable[T]:
    """Show nothing: the default progress."""
    return items


def bar(items: Iterable[T], total: int, text: str, *, done: int = 0, every: float = 60.0) -> Iterator[T]:
    """Pass items through and show on stderr how many have passed: a bar, or lines where it is no terminal.

    Parameters
    ----------
    items : iterable
    total : int
        How many there will have been at the end.
    text : str
        What is being done, such as ``"reading images"``.
    done : int, default=0
        How many of `total` were finished before.
    every : float, default=60
        Seconds between two lines, so that short steps write none into a log.

    Yields
    ------
    object
        The items, unchanged and no earlier than they are asked for.
    """
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal:
        began = said = time.monotonic()
        for passed, item in enumerate(items, 1):
            yield item
            if (now := time.monotonic()) - said >= every:
                left = (total - done - passed) * (now - began) / passed
                console.print(
                    f"{text}: {done + passed:,} of {total:,}, {left / 60:.0f} min left", markup=False
                )
                said = now
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(text, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)
