"""Plots of the checks, for the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lungcls.render.drawing import COLOURS, new_figure
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Check

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]


def check_plot(check: Check) -> Figure | None:
    """Draw the figures of a check; None for a check that a table shows as well.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    if check.name == "background_swap":
        return _swaps(check.rows)
    if check.name not in _DOTS:
        return None
    chosen, label, limit, title = _DOTS[check.name]
    rows = [row for row in check.rows if chosen(row) and row.get("value") is not None]
    return _dots(rows, label, limit, title) if rows else None


_DOTS: Final[dict[str, tuple[Callable[[Row], bool], Callable[[Row], str], float, str]]] = {
    "source_prediction": (
        lambda row: row["input"] in ("model", "pixels of full", "pixels of mask", "pixels of background_box"),
        lambda row: f"{row['class']}: {row['pair']}, {row['input']}",
        rules.SOURCE_AUROC,
        "AUROC of the source within one class",
    ),
    "same_source_pairs": (
        lambda row: row["figure"] == "auroc",
        lambda row: f"{row['pair']} ({row['source']})",
        rules.SAME_SOURCE_AUROC,
        "AUROC of pairs of classes",
    ),
    "robustness": (
        lambda row: row["figure"] == "drop",
        lambda row: str(row["change"]),
        rules.ROBUST_DROP,
        "Drop of macro-F1",
    ),
    "region_decomposition": (
        lambda row: True,
        lambda row: str(row["part"]),
        rules.PART_AUROC,
        "Macro AUROC of each part alone",
    ),
    "external": (
        lambda row: row["figure"] == "recall",
        lambda row: f"{row['set']}: {row['class']} ({row['source'] or 'unknown source'}, n = {row['n']})",
        0.5,
        "Recall on external sets, by source",
    ),
}


def _dots(rows: Sequence[Row], label: Callable[[Row], str], limit: float, title: str) -> Figure:
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
    axes.set_yticks(places, [label(row)[:90] for row in rows], fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(f"{title}\n(95% intervals by group; the dashed line is the limit)", fontsize=9)
    return figure


def _swaps(rows: Sequence[Row]) -> Figure | None:
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
