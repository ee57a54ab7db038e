"""matplotlib figures that belong to no window and no global state, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from lungcls.errors import MissingExtraError
from lungcls.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: Final = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377", "#66ccee", "#555555")
"""Told apart by colour-blind readers too (Tol's bright scheme)."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        # Not through pyplot, which keeps figures and a backend for the whole process.
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "plots", "a plot") from error
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: str | Path, dpi: int = 120) -> Path:
    """Write a figure as PNG; equal figures give equal files."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return Path(path)
