"""What reaches the terminal besides results: lungcls's own warnings, once and in its words, and no others."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import typer

import lungcls

_PACKAGE = str(Path(lungcls.__file__).parent)


class _Once(logging.Handler):
    """Prints each text once, on stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.say(record.getMessage())

    def say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            typer.echo(f"lungcls: {text}", err=True)


def only_own_words() -> None:
    """Print what lungcls warns of or logs as a warning; keep other packages' words off the terminal."""
    own = _Once()
    logging.getLogger("lungcls").addHandler(own)
    # With a handler at the root, logging has no need of its last resort, which prints what nobody handles.
    logging.getLogger().addHandler(logging.NullHandler())

    def show(
        message: Warning | str, category: type[Warning], filename: str, *place: Any, **more: Any
    ) -> None:
        if filename.startswith(_PACKAGE):
            own.say(str(message))

    warnings.showwarning = show


def every_word() -> None:
    """Print all that is logged and warned of, by whichever package."""
    logging.getLogger("lungcls").handlers.clear()
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    logging.captureWarnings(True)
