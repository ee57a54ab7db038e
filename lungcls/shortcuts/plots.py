"""Plots of the checks, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lungcls.render.drawing import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]


def dots(rows: Sequence[Row], labels: Sequence[str], limit: float, title: str) -> Figure:
    """Draw figures with their intervals, one a line, and a limit."""
    figure = new_figure(8, 1.3 + 0.26 * len(rows))
    axes = figure.add_subplot()
    values = np.asarray([row["value"] for row in rows], dtype=float)
    ends = [
        np.asarray([row["value"] if row.get(end) is None else row[end] for row in rows], dtype=float)
        for end in ("low", "high")
    ]
    places = np.arange(len(rows))[::-1]
    reach = np.maximum(0, np.stack([values - ends[0], ends[1] - values]))
    axes.errorbar(values, places, xerr=reach, fmt="o", ms=4, capsize=2, color=COLOURS[0])
    axes.axvline(limit, color=COLOURS[1], lw=1, ls="--")
    axes.set_yticks(places, [label[:90] for label in labels], fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(f"{title}\n(95% intervals by group; the dashed line is the limit)", fontsize=9)
    return figure


def swaps(rows: Sequence[Row]) -> Figure | None:
    """Draw what the answers to composites follow, a bar a pair of classes."""
    if not rows:
        return None
    figure = new_figure(8, 1.3 + 0.28 * len(rows))
    axes = figure.add_subplot()
    places = np.arange(len(rows))[::-1]
    start = np.zeros(len(rows))
    for key, colour, text in (
        ("follows_lungs", COLOURS[2], "follows the lungs"),
        ("follows_background", COLOURS[1], "follows the background"),
        ("neither", "#bbbbbb", "neither"),
    ):
        width = np.asarray([row.get(key) or 0.0 for row in rows], dtype=float)
        axes.barh(places, width, left=start, color=colour, label=text)
        start += width
    names = [
        f"{row['lungs']}: control (n = {row['n']})"
        if row["lungs"] == row["background"]
        else f"{row['lungs']} on {row['background']} (n = {row['n']})"
        for row in rows
    ]
    axes.set_yticks(places, names, fontsize=8)
    axes.set_xlim(0, 1)
    axes.legend(ncols=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.06))
    axes.set_title("Lungs of one class on the background of another: what the answer follows", fontsize=9)
    return figure


def curves(rows: Sequence[Row]) -> Figure | None:
    """Draw balanced accuracy against the share that is hidden, a line for lungs and for surroundings."""
    if not rows:
        return None
    figure = new_figure(6, 3.4)
    axes = figure.add_subplot()
    for what, colour in zip(dict.fromkeys(row["hidden"] for row in rows), COLOURS):
        mine = [row for row in rows if row["hidden"] == what]
        places, values = ([row[key] for row in mine] for key in ("share", "value"))
        axes.plot(places, values, "o-", color=colour, label=f"{what} hidden")
        if all(row.get("low") is not None for row in mine):
            low, high = ([row[end] for row in mine] for end in ("low", "high"))
            axes.fill_between(places, low, high, color=colour, alpha=0.15)
    axes.set_ylim(0, 1)
    axes.set_xlabel("share hidden")
    axes.set_ylabel("balanced accuracy")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure
