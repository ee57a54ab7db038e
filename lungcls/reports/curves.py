"""Loss and score over every epoch of a run."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from lungcls.errors import DataError
from lungcls.render.drawing import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def read_history(path: str | Path) -> list[dict[str, float]]:
    """Read the ``history.csv`` of a run.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    list of dict
        A row an epoch; nan where a figure was not logged.

    Raises
    ------
    DataError
        If the file is missing, empty or no history.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = [
                {name: float(value) if value else math.nan for name, value in row.items()}
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not readable as the history of a run ({error})") from error
    if not rows or "epoch" not in rows[0]:
        raise DataError(f"{path}: no epochs in it; expected the history.csv of `lungcls train`")
    return rows


def curves(history: Sequence[Mapping[str, float]], title: str = "") -> Figure:
    """Draw loss, and accuracy or Dice, of training and validation over all epochs.

    Parameters
    ----------
    history : sequence of mapping
        As :func:`read_history` gives it. Where the size of the images changes, a line is drawn.
    title : str

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    figure = new_figure(10, 4)
    loss, score = figure.subplots(1, 2)
    names = [name for name in history[-1] if name.startswith(("train_", "validation_"))]
    _lines(loss, history, [name for name in names if name.endswith("_loss")], "loss")
    _lines(score, history, [name for name in names if not name.endswith("_loss")], "score")
    figure.suptitle(title)
    return figure


def _lines(axes: Axes, history: Sequence[Mapping[str, float]], names: Sequence[str], label: str) -> None:
    epochs = [row["epoch"] + 1 for row in history]
    for index, name in enumerate(names):
        values = [row.get(name, math.nan) for row in history]
        axes.plot(
            epochs, values, marker="o", markersize=3, color=COLOURS[index % len(COLOURS)],
            label=name.replace("_", " "),
        )  # fmt: skip
    for before, after in pairwise(history):
        if before.get("size") != after.get("size"):
            axes.axvline(after["epoch"] + 0.5, color="#999999", linestyle=":", linewidth=1)
            axes.annotate(
                f" {after['size']:.0f} px", (after["epoch"] + 0.5, 1), xycoords=("data", "axes fraction"),
                va="top", fontsize=8, color="#666666",
            )  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    if names:
        axes.legend(fontsize=8)
