"""Progress bars for people who watch: on stderr, and only where it is a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def bar(items: Iterable[T], total: int, text: str, *, done: int = 0) -> Iterator[T]:
    """Pass items through and show how many have passed.

    Parameters
    ----------
    items : iterable
    total : int
        How many there will have been at the end.
    text : str
        What is being done, such as ``"reading images"``.
    done : int, default=0
        How many of `total` were finished before.

    Yields
    ------
    object
        The items, unchanged and no earlier than they are asked for.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield from items
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
