"""matplotlib figures that belong to no window and no global state, and their files."""

from __future__ import annotations

import base64
import importlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lungcls.errors import MissingExtraError
from lungcls.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
"""Told apart by colour-blind readers too (Okabe and Ito, 2008); the yellow last, as it is weak on white."""


def require_matplotlib() -> None:
    """Raise MissingExtraError if matplotlib is not installed."""
    try:
        for name in ("matplotlib", "matplotlib.figure"):
            importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots", "drawing charts") from error


def number(value: float | None) -> float:
    """Return a result file's figure as matplotlib draws it: nan, which it leaves out, where there is none."""
    return float("nan") if value is None else value


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    require_matplotlib()
    # Not through pyplot, which keeps figures and a backend for the whole process.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: str | Path, dpi: int = 120) -> Path:
    """Write a figure as PNG; equal figures give equal files."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return Path(path)


def png_url(png: io.BytesIO) -> str:
    """Return a PNG file as a URL that holds it, for pages that need no other file."""
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


def figure_url(figure: Figure, dpi: int = 100) -> str:
    """Return a figure as :func:`png_url` does; equal figures give equal URLs."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return png_url(buffer)
