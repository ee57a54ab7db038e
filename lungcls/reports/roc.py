"""ROC curves: each class against the rest, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import auc, roc_curve

from lungcls.render.drawing import COLOURS, new_figure
from lungcls.study.answers import Answers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MACRO = "macro"


@dataclass(frozen=True, eq=False)
class Curve:
    """One ROC curve.

    Attributes
    ----------
    name : str
        A class, or ``macro``.
    false_positive, true_positive : float64 array [P]
        Rates, rising; empty for a class that the sample lacks (or has alone).
    area : float
        nan where there is no curve.
    """

    name: str
    false_positive: npt.NDArray[np.float64]
    true_positive: npt.NDArray[np.float64]
    area: float


def roc_curves(answers: Answers) -> list[Curve]:
    """Return the curve of each class against the rest, and the mean of those that exist.

    Parameters
    ----------
    answers : Answers

    Returns
    -------
    list of Curve
        One a class in their order, then ``macro``: the mean of the true positive rates at each false positive
        rate, whose area is the mean of the areas.

    References
    ----------
    Fawcett (2006), An introduction to ROC analysis, Pattern Recognition Letters 27(8), 861-874.
    """
    curves = []
    for index, name in enumerate(answers.classes):
        positive = answers.labels == index
        if positive.all() or not positive.any():
            curves.append(Curve(name, np.empty(0), np.empty(0), float("nan")))
            continue
        false, true, _ = roc_curve(positive, answers.probabilities[:, index], drop_intermediate=False)
        curves.append(Curve(name, false, true, float(auc(false, true))))
    return [*curves, _macro(curves)]


def roc_figure(curves: Sequence[Curve], title: str = "") -> Figure:
    """Draw ROC curves; a class that the sample lacks is named as such.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    figure = new_figure(5.6, 5.4)
    axes = figure.add_subplot()
    for index, curve in enumerate(curves):
        macro = curve.name == MACRO
        text = "no curve: no image of it, or none of another" if np.isnan(curve.area) else f"{curve.area:.3f}"
        axes.plot(
            curve.false_positive, curve.true_positive, label=f"{curve.name} ({text})",
            color="black" if macro else COLOURS[index % len(COLOURS)],
            linestyle="--" if macro else "-", linewidth=1.5,
        )  # fmt: skip
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
    axes.set(
        xlim=(-0.01, 1), ylim=(0, 1.01), xlabel="false positive rate", ylabel="true positive rate (recall)"
    )
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8, title="class against the rest (area)", title_fontsize=8)
    axes.set_title(title, fontsize=10)
    return figure


def roc_rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return one row a point: curve, false_positive_rate, true_positive_rate."""
    return [
        {"curve": curve.name, "false_positive_rate": false, "true_positive_rate": true}
        for curve in curves
        for false, true in zip(curve.false_positive.tolist(), curve.true_positive.tolist())
    ]


def _macro(curves: Sequence[Curve]) -> Curve:
    defined = [curve for curve in curves if curve.false_positive.size]
    if not defined:
        return Curve(MACRO, np.empty(0), np.empty(0), float("nan"))
    # Each step of a curve is met from both sides, or the mean would slope where the curves rise straight up.
    at = np.unique(np.concatenate([curve.false_positive for curve in defined]))
    grid = np.repeat(at, 2)
    sides = ("left", "right")
    means = [np.mean([_rate(curve, at, side) for curve in defined], axis=0) for side in sides]
    true = np.stack(means, axis=1).ravel()
    return Curve(MACRO, grid, true, float(auc(grid, true)))


def _rate(curve: Curve, at: npt.NDArray[np.float64], side: str) -> npt.NDArray[np.float64]:
    """True positive rates just before (left) or just after (right) false positive rates."""
    false, true = curve.false_positive, curve.true_positive
    index = np.searchsorted(false, at, side="left" if side == "left" else "right")
    exact = np.isin(at, false)
    inside = np.interp(at, false, true)
    ends = true[np.clip(index if side == "left" else index - 1, 0, len(true) - 1)]
    return np.asarray(np.where(exact, ends, inside))
