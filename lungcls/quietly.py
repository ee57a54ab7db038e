"""Warnings of the libraries that decode files, said once and in our words instead of theirs."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)

# warnings.catch_warnings changes the whole process: two threads inside it at once would leave it changed.
_LOCK = threading.RLock()
_SAID: set[tuple[str, str]] = set()


@contextmanager
def library_warnings(name: str, kind: str) -> Iterator[None]:
    """Keep what a library warns of while it reads a file off the terminal, and log it once a kind.

    Parameters
    ----------
    name : str
        What messages call the file.
    kind : str
        Its format.
    """
    with _LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(one_line(warning.message) for warning in caught):
        if _is_new(kind, text[:60]):
            _log.warning(
                "%s: read all the same, though the %s departs from its standard: %s (said once: further "
                "files like it are not named)",
                name,
                kind,
                text,
            )


def _is_new(kind: str, text: str) -> bool:
    new = (kind, text) not in _SAID
    if len(_SAID) < 1000:
        _SAID.add((kind, text))
    return new


def one_line(thing: object) -> str:
    """Return one printable line that tells an error, or a value of a file, whatever it holds."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(thing)[:2000])
    return " ".join(printable.split())[:300] or type(thing).__name__
