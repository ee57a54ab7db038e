"""The figures of a paper, at print quality: PNG of 300 dots an inch, and PDF."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from lungcls.evaluation.evaluate import classification_on
from lungcls.evaluation.reliability import reliability_diagram
from lungcls.files import atomic_write
from lungcls.paper.decision_curve import DecisionCurve, decision_curves
from lungcls.paper.evidence import Evidence
from lungcls.paper.facts_of_results import areas
from lungcls.paper.flow import draw_flow, film_flow
from lungcls.paper.sample_size import Requirement, requirements
from lungcls.render.drawing import COLOURS, new_figure
from lungcls.reports.curves import curves
from lungcls.reports.plots import class_bars, confusion_matrix
from lungcls.reports.roc import roc_curves, roc_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS: Final = 300

CAPTIONS: Final = {
    "flow": "Flow of films.",
    "confusion": "Confusion matrix: rows true, columns predicted.",
    "classes": "Precision, recall and F1 by class, with intervals by group.",
    "roc": "ROC curves, each class against the rest.",
    "reliability": "Reliability before and after temperature scaling.",
    "decision_curve": "Decision curves (Vickers and Elkin 2006): net benefit of acting on the films "
    "above a threshold "
    "probability, beside acting on all and on none. The share of a class is that of these films, which "
    "is not a clinic's.",
    "sample_size": "Films that the judged part has, and that intervals of a stated width would take "
    "(Riley et al. 2021).",
    "curves": "Loss and score over the epochs of training.",
}
"""Words below each figure, in the order in which they are written."""


def write_figures(evidence: Evidence, out: Path) -> dict[str, Path]:
    """Draw what the evidence allows.

    Parameters
    ----------
    evidence : Evidence
    out : Path
        Folder of the PNG and PDF files.

    Returns
    -------
    dict of str to Path
        PNG files by name, in the order of :data:`CAPTIONS`; a figure is missing where its data are.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    written = {}
    for name in CAPTIONS:
        figure = _DRAWN[name](evidence)
        if figure is not None:
            written[name] = save_print(figure, out / name)
    return written


def save_print(figure: Figure, stem: Path) -> Path:
    """Write a figure as ``<stem>.png`` and ``<stem>.pdf``; equal figures give equal files."""
    for suffix, metadata in (
        (".pdf", {"CreationDate": None, "Producer": None}),
        (".png", {"Software": None}),
    ):
        with atomic_write(stem.with_suffix(suffix)) as file:
            figure.savefig(file, format=suffix[1:], dpi=DOTS, metadata=metadata)
    return stem.with_suffix(".png")


def decision_figure(curves: Sequence[DecisionCurve]) -> Figure:
    """Draw decision curves, a panel a class."""
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    figure = new_figure(3.6 * columns, 2.8 * rows)
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for panel in panels[len(curves) :]:
        panel.axis("off")
    for panel, curve in zip(panels, curves):
        values = [one.value for one in curve.benefit]
        panel.fill_between(
            curve.thresholds,
            [one.low for one in curve.benefit],
            [one.high for one in curve.benefit],
            color=COLOURS[0],
            alpha=0.2,
            linewidth=0,
        )
        panel.plot(curve.thresholds, values, color=COLOURS[0], label="the classifier, 95% interval")
        panel.plot(curve.thresholds, curve.treat_all, color=COLOURS[1], linestyle="--", label="all films")
        panel.axhline(0, color="#333333", linewidth=0.8, label="no film")
        top = max(one.high if math.isfinite(one.high) else one.value for one in curve.benefit)
        panel.set(xlim=(0, 1), ylim=(-0.15 * top, 1.05 * top))
        panel.set_title(f"{curve.name} ({curve.prevalence:.0%} of films)", fontsize=9)
        panel.set_xlabel("threshold probability", fontsize=8)
        panel.set_ylabel("net benefit", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def size_figure(requirements: Sequence[Requirement], films: int) -> Figure:
    """Draw how many films each figure of each class needs, beside how many there are."""
    defined = [one for one in requirements if one.needed is not None]
    figure = new_figure(7, 1.2 + 0.24 * len(defined))
    axes = figure.add_subplot()
    kinds = list(dict.fromkeys(one.figure for one in defined))
    for place, one in enumerate(reversed(defined)):
        assert one.needed is not None
        axes.barh(place, one.needed, 0.7, color=COLOURS[kinds.index(one.figure)])
        axes.text(one.needed, place, f" {one.needed:,}", va="center", fontsize=7)
    axes.axvline(films, color="#333333", linestyle="--", linewidth=1)
    axes.set_yticks(
        range(len(defined)),
        [f"{one.name}: {one.figure} to ±{one.width / 2:g}" for one in reversed(defined)],
        fontsize=7,
    )
    axes.set_xscale("log")
    axes.set_xlabel("films needed, all classes together", fontsize=8)
    axes.set_ylim(-0.6, len(defined) + 0.4)
    axes.margins(x=0.15)
    low, high = axes.get_xlim()
    side = "right" if films > math.sqrt(low * high) else "left"
    axes.text(films, len(defined) - 0.3, f" {films:,} films judged ", fontsize=7, va="bottom", ha=side)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def _bootstrap(evidence: Evidence) -> tuple[int, int]:
    """Resamples and seed of the evaluation, so that figures and tables have the same intervals."""
    return int(evidence.metrics["n_resamples"]), int(evidence.metrics["seed"])


def _flow(evidence: Evidence) -> Figure | None:
    flow = film_flow(evidence)
    return None if flow is None else draw_flow(flow)


def _confusion(evidence: Evidence) -> Figure | None:
    judged = evidence.judged
    return None if judged is None else confusion_matrix(classification_on(judged, evidence.card, 0))


def _classes(evidence: Evidence) -> Figure | None:
    judged = evidence.judged
    return (
        None
        if judged is None
        else class_bars(classification_on(judged, evidence.card, *_bootstrap(evidence)))
    )


def _roc(evidence: Evidence) -> Figure | None:
    judged = evidence.judged
    return None if judged is None else roc_figure(roc_curves(judged))


def _reliability(evidence: Evidence) -> Figure | None:
    trust = evidence.metrics.get("trust")
    return reliability_diagram(trust) if trust else None


def _decision(evidence: Evidence) -> Figure | None:
    curves = decision_curves(evidence.judged, *_bootstrap(evidence)) if evidence.judged else []
    return decision_figure(curves) if curves else None


def _sizes(evidence: Evidence) -> Figure | None:
    judged = evidence.judged
    sizes = requirements(judged, areas(evidence.metrics)) if judged else []
    if judged is None or not any(one.needed for one in sizes):
        return None
    return size_figure(sizes, len(judged))


def _curves(evidence: Evidence) -> Figure | None:
    return curves(evidence.history.content) if evidence.history else None


_DRAWN: Final[dict[str, Callable[[Evidence], Figure | None]]] = {
    "flow": _flow,
    "confusion": _confusion,
    "classes": _classes,
    "roc": _roc,
    "reliability": _reliability,
    "decision_curve": _decision,
    "sample_size": _sizes,
    "curves": _curves,
}
