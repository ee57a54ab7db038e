"""Plots of an ablation: arm by class, and who was shown what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lungcls.render.drawing import COLOURS, new_figure, number, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def by_class(rows: Sequence[dict[str, Any]], metric: str = "f1") -> Figure:
    """Draw a figure of each class by arm, with 95% intervals.

    Parameters
    ----------
    rows : sequence of dict
        ``rows`` of an :class:`lungcls.ablation.run.Ablation`.
    metric : {"f1", "auroc"}
    """
    chosen = [row for row in rows if row["metric"] == metric and row["class"]]
    arms = list(dict.fromkeys(_name(row["arm"], row["masks"]) for row in chosen))
    classes = list(dict.fromkeys(row["class"] for row in chosen))
    figure = new_figure(2.5 + 0.85 * len(arms), 4.2)
    axes = figure.add_subplot()
    for k, name in enumerate(classes):
        mine = [row for row in chosen if row["class"] == name]
        places = [
            arms.index(_name(row["arm"], row["masks"])) + (k - (len(classes) - 1) / 2) * 0.16 for row in mine
        ]
        values = np.asarray([number(row["value"]) for row in mine])
        reach = [
            np.maximum(0, values - [number(row["low"]) for row in mine]),
            np.maximum(0, [number(row["high"]) for row in mine] - values),
        ]
        axes.errorbar(
            places,
            values,
            yerr=np.nan_to_num(np.asarray(reach)),
            fmt="o",
            ms=4,
            capsize=2,
            color=COLOURS[k % len(COLOURS)],
            label=name,
        )
    axes.set_xticks(range(len(arms)), arms, rotation=30, ha="right")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel({"f1": "F1", "auroc": "AUROC"}.get(metric, metric))
    axes.grid(axis="y", alpha=0.3)
    figure.legend(ncols=min(len(classes), 4), loc="outside lower center", fontsize=8, frameon=False)
    axes.set_title("What each arm tells of each class (95% intervals by group)", fontsize=10)
    return figure


def swap_matrix(swaps: Sequence[dict[str, Any]], metric: str = "macro_f1") -> Figure:
    """Draw the figure of models of one arm (rows) tested on the views of another (columns)."""
    chosen = [row for row in swaps if row["metric"] == metric]
    trained = list(dict.fromkeys(_name(row["trained"], row["trained_masks"]) for row in chosen))
    tested = list(dict.fromkeys(_name(row["tested"], row["tested_masks"]) for row in chosen))
    table = np.full((len(trained), len(tested)), np.nan)
    for row in chosen:
        at = trained.index(_name(row["trained"], row["trained_masks"]))
        table[at, tested.index(_name(row["tested"], row["tested_masks"]))] = number(row["value"])
    figure = new_figure(3 + 0.8 * len(tested), 2 + 0.5 * len(trained))
    axes = figure.add_subplot()
    picture = axes.imshow(table, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        if np.isfinite(value):
            colour = "black" if value > 0.6 else "white"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(tested)), tested, rotation=30, ha="right")
    axes.set_yticks(range(len(trained)), trained)
    axes.set_xlabel("tested on")
    axes.set_ylabel("trained on")
    axes.set_title({"macro_f1": "Macro-F1"}.get(metric, metric), fontsize=10)
    figure.colorbar(picture, ax=axes, shrink=0.8)
    return figure


def write_plots(
    folder: str | Path, name: str, rows: Sequence[dict[str, Any]], swaps: Sequence[dict[str, Any]]
) -> list[Path]:
    """Write ``<name>_f1.png``, ``<name>_auroc.png`` and, where models were swapped, ``<name>_swap.png``.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    figures = {"f1": by_class(rows, "f1"), "auroc": by_class(rows, "auroc")}
    if swaps:
        figures["swap"] = swap_matrix(swaps)
    return [save_figure(figure, Path(folder) / f"{name}_{key}.png") for key, figure in figures.items()]


def _name(arm: str, masks: str) -> str:
    return f"{arm} (true masks)" if masks == "truth" else arm
