"""Forks: a child has none of the threads of its parent's networks, and would wait for them for ever."""

from __future__ import annotations

import os

from lungcls.errors import ForkError

_generation = 0


def _forked() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def generation() -> int:
    """Return how often this process's line was forked since lungcls was imported: 0 where nothing was."""
    return _generation


def check_loaded_here(loaded_in: int, engine: str) -> None:
    """Refuse what was loaded before a fork.

    Parameters
    ----------
    loaded_in : int
        :func:`generation` when the network was loaded.
    engine : str

    Raises
    ------
    ForkError
    """
    if loaded_in < _generation:
        raise ForkError(
            f"this process was forked after the network was loaded, and the threads of {engine} stayed with "
            "the parent; start processes with multiprocessing.get_context('spawn'), or load in each of them"
        )
