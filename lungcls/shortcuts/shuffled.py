"""Check F: what is left where the patches, or the pixels, of the lungs are shuffled?"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.weighted import Floats, Statistic, macro_auroc
from lungcls.regions import Mask, Pixels
from lungcls.shortcuts import rules
from lungcls.shortcuts.blanked import too_few
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Row
from lungcls.shortcuts.harmonised import hidden_lungs
from lungcls.shortcuts.pictures import strip
from lungcls.shortcuts.sample import Trial, interval

_PATCH: Final = 1 / 16  # of the shorter side: 16 pixels of a film of 256


def shuffle_patches(pixels: Pixels, mask: Mask, rng: np.random.Generator) -> Pixels:
    """Put square patches of the lungs in place of each other.

    Parameters
    ----------
    pixels : float32 array [H, W]
    mask : bool array [H, W]
    rng : numpy Generator

    Returns
    -------
    float32 array [H, W]
        Each cell of a grid of 1/16 of the shorter side shows a cell that lies within the lungs altogether,
        drawn by chance; what is outside the lungs stays. Without such a cell, those that the lungs fill most.
    """
    side = max(2, round(_PATCH * min(pixels.shape)))
    rows, columns = (length // side for length in pixels.shape)
    whole = mask[: rows * side, : columns * side].reshape(rows, side, columns, side).mean((1, 3))
    cells = np.argwhere(whole >= min(1.0, float(whole.max())))
    shuffled: Pixels = pixels.copy()
    places = [
        (top, left)
        for top in range(0, pixels.shape[0], side)
        for left in range(0, pixels.shape[1], side)
        if mask[top : top + side, left : left + side].any()
    ]
    # Each cell is used as often as every other, give or take one.
    drawn = np.concatenate([rng.permutation(len(cells)) for _ in range(len(places) // len(cells) + 1)])
    for (top, left), which in zip(places, drawn):
        y, x = cells[which] * side
        lungs = mask[top : top + side, left : left + side]
        patch = pixels[y : y + lungs.shape[0], x : x + lungs.shape[1]]
        shuffled[top : top + side, left : left + side][lungs] = patch[lungs]
    return shuffled


def shuffle_pixels(pixels: Pixels, mask: Mask, rng: np.random.Generator) -> Pixels:
    """Put the pixels of the lungs in place of each other: their histogram is all that stays."""
    shuffled: Pixels = pixels.copy()
    shuffled[mask] = rng.permutation(pixels[mask])
    return shuffled


class ShuffledLungs(Check):
    """Shuffle the lungs, and measure how much of what the model tells above chance is left.

    A row a way: the macro AUROC, and the share that is kept of what lies above 0.5.
    """

    name = "shuffled_lungs"
    number = "F"
    title = "Patches and pixels of the lungs shuffled"
    limit = rules.SHUFFLED_KEPT
    plot_title = "Share of the AUROC above chance that is kept"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return str(row["films"]) if row["figure"] == "kept" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if why := hidden_lungs(trial):
            return self.not_applicable(why)
        if why := too_few(trial):
            return self.untold(why)
        sample, labels = trial.sample, trial.labels
        before = macro_auroc(labels, trial.probabilities)
        clean = trial.estimate(before)
        rows: list[dict[str, Any]] = [
            {"films": "as they are", "figure": "macro_auroc", **interval(clean, len(sample))}
        ]
        if rules.at_least(clean, 0.6) != "pass":
            return self.untold(f"the model tells the classes with {clean.value:.2f} as they are", rows)
        kept: dict[str, Estimate] = {}
        tiles = [sample.pixels[0]]
        for name, shuffle in (("patches shuffled", shuffle_patches), ("pixels shuffled", shuffle_pixels)):
            rng = np.random.default_rng(trial.seed)
            films = [shuffle(p, m, rng) for p, m in zip(sample.pixels, sample.masks)]
            tiles.append(films[0])
            after = macro_auroc(labels, trial.answers(films, sample.masks))
            kept[name] = trial.estimate(_kept(after, before))
            rows.append(
                {"films": name, "figure": "macro_auroc", **interval(trial.estimate(after), len(sample))}
            )
            rows.append({"films": name, "figure": "kept", **interval(kept[name], len(sample))})
        worst = max(kept, key=lambda name: kept[name].value)
        found = kept[worst]
        because = (
            f"{worst}, {found.value:.0%} ({found.low:.0%} to {found.high:.0%}) of the AUROC above chance "
            f"is kept; limit {rules.SHUFFLED_KEPT:.0%}"
        ) + rules.size_words(found, rules.SHUFFLED_KEPT, len(sample))
        pictures = [Picture("a film, its lungs' patches shuffled, their pixels shuffled", strip(tiles))]
        verdict = rules.all_at_most(list(kept.values()), rules.SHUFFLED_KEPT)
        return self.finding(verdict, because, rows, pictures)


def _kept(after: Statistic, before: Statistic) -> Statistic:
    def statistic(weights: Floats) -> Floats:
        above = before(weights) - 0.5
        return np.where(above > 0.01, (after(weights) - 0.5) / np.maximum(above, 0.01), np.nan)

    return statistic
