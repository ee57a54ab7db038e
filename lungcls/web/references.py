"""What to read about the classes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import resources

from lungcls.web.schemas import ClassNotes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def class_notes(classes: Iterable[str]) -> dict[str, ClassNotes]:
    """Return notes and links for each class; empty ones for a class that nothing was written about."""
    text = resources.files("lungcls.web").joinpath("references.toml").read_text(encoding="utf-8")
    notes = tomllib.loads(text)
    return {name: ClassNotes(**notes.get(name, {"note": None, "references": []})) for name in classes}
