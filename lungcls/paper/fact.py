"""One thing that is known of a study, and the file that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungcls.weights import find_weights, released


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence and where it is from.

    Attributes
    ----------
    text : str
    file : str
        Path of the file, as the user named it; several are separated by "; ".
    """

    text: str
    file: str


def fact(text: str, *files: Path | str | None) -> Fact:
    """Return a fact of one or several files."""
    return Fact(text, "; ".join(dict.fromkeys(shown(one) for one in files if one is not None)))


def shown(path: Path | str) -> str:
    """Name a file as the user did; one that is released with lungcls by its name alone."""
    here = Path(path)
    names = released()
    if names and here.is_absolute() and here.parent == find_weights(names[0]).parent:
        return f"{here.name} (released with lungcls)"
    return str(path)


def interval(estimate: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Write a figure of a result file as "0.880 (0.861 to 0.896)"; "undefined" where there is none."""
    value = None if estimate is None else estimate.get("value")
    if estimate is None or value is None:
        return "undefined"
    low, high = estimate.get("low"), estimate.get("high")
    if low is None or high is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def counted(counts: Mapping[str, int]) -> str:
    """Write counts by name as "12 COVID, 30 Normal"."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
