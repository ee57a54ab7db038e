"""A chart: its numbers, and how they are drawn."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcls.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of numbers and text.

    Attributes
    ----------
    columns : tuple of str
    rows : sequence of sequence
        One value a column; floats are written with six decimals.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    def write(self, path: Path) -> Path:
        """Write the table as CSV and return the path."""
        with atomic_write(path, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows([_text(value) for value in row] for row in self.rows)
        return path


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture of a dataset with its numbers.

    Attributes
    ----------
    name : str
        Stem of its files.
    section : str
        Heading under which it stands in the page.
    title, caption : str
        What it shows, and how to read it, in words.
    table : Table
    draw : callable
        Returns the figure.
    """

    name: str
    section: str
    title: str
    caption: str
    table: Table
    draw: Callable[[], Figure]


def _text(value: Any) -> Any:
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
