"""Plots of a classifier's report: the confusion matrix and the figures of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.classification import ClassificationReport
from lungcls.evaluation.multilabel import FindingsReport
from lungcls.render.drawing import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS = ("precision", "recall", "f1")
_WORDS = {"f1": "F1", "auroc": "AUROC", "average_precision": "average precision"}


def confusion_matrix(report: ClassificationReport, title: str = "") -> Figure:
    """Draw the confusion matrix: counts, coloured by the share of the true class.

    Parameters
    ----------
    report : ClassificationReport
    title : str

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    counts = report.confusion
    support = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(support, 1)
    side = 2.6 + 0.9 * len(report.classes)
    figure = new_figure(side + 0.8, side)
    axes = figure.add_subplot()
    picture = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if share[row, column] > 0.55 else "black"
        text = f"{count}\n{share[row, column]:.1%}" if support[row, 0] else f"{count}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    places = range(len(report.classes))
    axes.set_xticks(places, report.classes, rotation=30, ha="right")
    axes.set_yticks(places, [f"{name}\n({n})" for name, n in zip(report.classes, support[:, 0])])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (images)")
    axes.set_title(title, fontsize=10)
    figure.colorbar(picture, ax=axes, shrink=0.75, label="share of the true class")
    return figure


def class_bars(report: ClassificationReport, title: str = "") -> Figure:
    """Draw precision, recall and F1 of each class with intervals; parameters as :func:`confusion_matrix`."""
    bars = {metric: [report.per_class[name][metric] for name in report.classes] for metric in BARS}
    names = [f"{name}\n({report.support[name]} images)" for name in report.classes]
    return _bars(bars, names, title or f"{report.level:.0%} intervals by group")


def finding_bars(report: FindingsReport, title: str = "") -> Figure:
    """Draw AUROC, average precision and F1 of each finding with intervals."""
    bars = {
        metric: [report.estimates[metric, name] for name in report.counts]
        for metric in ("auroc", "average_precision", "f1")
    }
    counts = report.counts.items()
    names = [f"{name}\n({present} of {present + absent})" for name, (present, absent) in counts]
    return _bars(bars, names, title)


def _bars(bars: Mapping[str, Sequence[Estimate]], names: Sequence[str], title: str) -> Figure:
    figure = new_figure(2 + 1.7 * len(names), 4.2)
    axes = figure.add_subplot()
    width = 0.26
    for offset, (metric, estimates) in enumerate(bars.items()):
        places = np.arange(len(names)) + (offset - 1) * width
        values = np.nan_to_num([one.value for one in estimates])
        reach = [[one.value - one.low for one in estimates], [one.high - one.value for one in estimates]]
        axes.bar(places, values, 0.9 * width, color=COLOURS[offset], label=_WORDS.get(metric, metric))
        # A percentile interval may miss its value by a hair; a bar's whisker cannot.
        axes.errorbar(
            places, values, yerr=np.maximum(0, np.nan_to_num(reach)), fmt="none", ecolor="#333333",
            capsize=2, linewidth=1,
        )  # fmt: skip
        for place, one in zip(places, estimates):
            text = "no image" if np.isnan(one.value) else f"{one.value:.2f}"
            axes.text(place, 0.02, text, ha="center", va="bottom", fontsize=7, rotation=90, color="black")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(ncols=len(bars), loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=8, frameon=False)
    axes.set_title(title, fontsize=10)
    return figure
