"""Check M: accuracy under a growing black box over the lungs, and over what is around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungcls.evaluation.weighted import Floats, Statistic, difference, share
from lungcls.regions import Mask, Pixels, known_box
from lungcls.shortcuts import rules
from lungcls.shortcuts.blanked import too_few
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Row
from lungcls.shortcuts.pictures import strip
from lungcls.shortcuts.sample import Trial, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES: Final = (0.25, 0.5, 0.75, 1.0)
"""Shares of the lungs, or of their surroundings, that are hidden."""


def hide_lungs(pixels: Pixels, mask: Mask, hidden: float) -> Pixels:
    """Blacken a box in the middle of the lungs that holds a share of their pixels.

    Parameters
    ----------
    pixels : float32 array [H, W]
    mask : bool array [H, W]
        Not empty.
    hidden : float
        Above 0; at 1 the whole box of the lungs is black.
    """
    x0, y0, x1, y1 = known_box(mask)
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    across = np.abs(columns + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2)
    down = np.abs(rows + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2)
    reach = np.maximum(across, down)  # 1 at the border of the lungs' box
    return np.where(reach <= np.quantile(reach[mask], hidden), np.float32(0), pixels)


def hide_surroundings(pixels: Pixels, mask: Mask, hidden: float) -> Pixels:
    """Blacken a share of what is not lung, the farthest from the lungs first."""
    if mask.all():
        return pixels
    away = ndimage.distance_transform_edt(~mask)
    return np.where(~mask & (away >= np.quantile(away[~mask], 1 - hidden)), np.float32(0), pixels)


class GrowingBox(Check):
    """Hide a growing share of the lungs, and of what is around them, and see which costs more.

    Rows: balanced accuracy by share hidden, the area under either curve (the mean over all shares, by the
    trapezoidal rule), and their difference.
    """

    name = "growing_box"
    number = "M"
    title = "A growing black box over the lungs, and over their surroundings"
    costly = True

    def plot(self, rows: Sequence[Row]) -> Figure | None:
        """Draw the two curves."""
        from lungcls.shortcuts.plots import curves

        return curves([row for row in rows if row["figure"] == "balanced_accuracy"])

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        region, sample = trial.subject.region, trial.sample
        if region.kind.shows != "both":
            return self.not_applicable(
                f"the region {region.name!r} does not show the model both the lungs and their surroundings"
            )
        if why := too_few(trial):
            return self.untold(why)
        films = list(zip(sample.pixels, sample.masks))
        rows: list[dict[str, Any]] = []
        areas: dict[str, Statistic] = {}
        tiles = []
        for what, hide in (("lungs", hide_lungs), ("surroundings", hide_surroundings)):
            curve = [_balanced(trial, trial.right)]
            for hidden in SHARES:
                shown = [hide(p, m, hidden) for p, m in films]
                tiles.append(shown[0])
                predicted = trial.answers(shown, sample.masks).argmax(1)
                curve.append(_balanced(trial, np.asarray(predicted == trial.labels)))
            for hidden, figure in zip((0.0, *SHARES), curve):
                row = {"hidden": what, "share": hidden, "figure": "balanced_accuracy"}
                rows.append({**row, **interval(trial.estimate(figure), len(sample))})
            areas[what] = _area(curve)
            row = {"hidden": what, "share": None, "figure": "area"}
            rows.append({**row, **interval(trial.estimate(areas[what]), len(sample))})
        found = trial.estimate(difference(areas["lungs"], areas["surroundings"]))
        rows.append({"hidden": "", "share": None, "figure": "difference", **interval(found, len(sample))})
        values = {row["hidden"]: row["value"] for row in rows if row["figure"] == "area"}
        because = (
            f"the mean balanced accuracy is {values['lungs']:.2f} while the lungs are hidden and "
            f"{values['surroundings']:.2f} while the surroundings are: {found.value:+.2f} ({found.low:+.2f} "
            f"to {found.high:+.2f}; at least {rules.BOX_AREA:+.2f} is asked for)"
        ) + rules.size_words(found, rules.BOX_AREA, len(sample))
        pictures = [Picture(f"lungs and surroundings hidden, {', '.join(map(str, SHARES))}", strip(tiles))]
        return self.finding(rules.at_least(found, rules.BOX_AREA), because, rows, pictures)


def _balanced(trial: Trial, right: NDArray[np.bool_]) -> Statistic:
    """Mean recall over the classes that are there."""
    recall = share(right)
    members = [trial.labels == k for k in range(len(trial.subject.classes)) if (trial.labels == k).any()]
    return lambda weights: np.asarray(np.nanmean([recall(weights * one) for one in members], axis=0))


def _area(curve: list[Statistic]) -> Statistic:
    places = np.asarray((0.0, *SHARES))

    def statistic(weights: Floats) -> Floats:
        heights = np.stack([figure(weights) for figure in curve])
        return np.asarray(((heights[1:] + heights[:-1]) / 2 * np.diff(places)[:, None]).sum(0))

    return statistic
