"""Reliability diagrams: how often answers of a confidence are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcls.evaluation.calibration import ECE_BINS
from lungcls.evaluation.trust import AFTER, BEFORE
from lungcls.render.drawing import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR, _LINE, _GREY = "#4c9fcf", "#1b4965", "#8a8a8a"


def reliability_diagram(trust: Mapping[str, Any], title: str = "") -> Figure:
    """Draw accuracy against confidence before and after the temperature, above how many images there are.

    Parameters
    ----------
    trust : mapping
        As `TrustReport.to_dict` gives it, and the JSON file of an evaluation holds it under ``trust``.
    title : str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    References
    ----------
    Niculescu-Mizil, Caruana (2005), Predicting Good Probabilities with Supervised Learning, ICML.
    """
    figure = new_figure(9, 5)
    axes = figure.subplots(2, 2, height_ratios=(3, 1), sharex=True, sharey="row")
    names = {BEFORE: "softmax of the logits", AFTER: f"temperature {trust['temperature']:.3g}"}
    for column, (when, name) in enumerate(names.items()):
        bins, metrics = trust["reliability"][when], trust["calibration"][when]["overall"]
        _accuracy(axes[0, column], bins)
        axes[0, column].set_title(
            f"{name}\nECE {_text(metrics['ece'])}, NLL {_text(metrics['nll'])}", fontsize=10
        )
        centres = [(row["from"] + row["to"]) / 2 for row in bins]
        axes[1, column].bar(centres, [row["images"] for row in bins], 0.9 / ECE_BINS, color=_GREY)
        axes[1, column].set_xlabel("confidence (highest probability)")
    axes[0, 0].set_ylabel("accuracy, 95% interval by group")
    axes[1, 0].set_ylabel("images")
    figure.suptitle(title)
    return figure


def save_diagram(trust: Mapping[str, Any], path: str | Path, title: str = "") -> Path:
    """Write a reliability diagram as PNG; parameters and errors as :func:`reliability_diagram`."""
    return save_figure(reliability_diagram(trust, title), path, dpi=110)


def _accuracy(axes: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    confidence = [row["confidence"] for row in bins]
    accuracy = [row["accuracy"]["value"] for row in bins]
    centres = [(row["from"] + row["to"]) / 2 for row in bins]
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="calibrated")
    axes.bar(centres, accuracy, 0.9 / ECE_BINS, color=_BAR, alpha=0.6, label="accuracy")
    for row, x in zip(bins, confidence):
        low, high = row["accuracy"]["low"], row["accuracy"]["high"]
        if low is not None:
            axes.plot([x, x], [low, high], color=_LINE, linewidth=1)
    axes.plot(confidence, accuracy, "o", color=_LINE, markersize=4, label="at mean confidence")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper left", fontsize=8, frameon=False)


def _text(estimate: Mapping[str, float | None]) -> str:
    value = estimate["value"]
    return "-" if value is None else f"{value:.3f}"
