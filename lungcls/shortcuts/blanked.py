"""Checks A and B: what is told where the lungs are blanked, and by their outline alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.calibration import softmax
from lungcls.evaluation.weighted import macro_auroc
from lungcls.regions import Mask, Pixels, dilate_mask, lung_box
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Row
from lungcls.shortcuts.pictures import strip
from lungcls.shortcuts.references import within_sources
from lungcls.shortcuts.sample import Trial, interval

_RIM = 0.02  # of the width: what the mask misses at its edge is blanked, too
_MARGIN = 0.05  # of the lungs' box


def blank_lungs(pixels: Pixels, mask: Mask, outline: bool = True) -> Pixels:
    """Fill the lungs with the film's median.

    Parameters
    ----------
    pixels : float32 array [H, W]
    mask : bool array [H, W]
        Not empty.
    outline : bool, default=True
        Fill the lungs and 2% around them, so that their outline stays; else the whole box around them, so
        that it is gone.

    Returns
    -------
    float32 array [H, W]
    """
    filled: Pixels = pixels.copy()
    if outline:
        filled[dilate_mask(mask, _RIM)] = np.median(pixels)
    elif (box := lung_box(mask, _MARGIN)) is not None:
        x0, y0, x1, y1 = box
        filled[y0:y1, x0:x1] = np.median(pixels)
    return filled


class LungsBlanked(Check):
    """Blank the lungs and measure how well the classes are told by what is left.

    Two rows: the lungs filled, so that their outline stays, and their whole box filled. The measure is the
    macro AUROC: such films are strange to the model, and its thresholds mean nothing on them.
    """

    name = "lungs_blanked"
    number = "A"
    title = "The lungs blanked"
    limit = rules.BLANKED_AUROC
    plot_title = "Macro AUROC without lungs"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return str(row["films"])

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        region = trial.subject.region
        if region.kind.shows in ("lungs", "outline"):
            return self.not_applicable(
                f"the region {region.name!r} shows the model nothing else; check B shows it the outline alone"
            )
        if why := too_few(trial):
            return self.untold(why)
        sample = trial.sample
        rows: list[dict[str, Any]] = []
        found: dict[str, Estimate] = {}
        tiles = [sample.pixels[0]]
        for name, outline in (("as they are", None), ("lungs filled", True), ("lungs' box filled", False)):
            if outline is None:
                probabilities = trial.probabilities
            else:
                films = [blank_lungs(p, m, outline) for p, m in zip(sample.pixels, sample.masks)]
                tiles.append(films[0])
                probabilities = trial.answers(films, sample.masks)
            told = trial.estimate(macro_auroc(trial.labels, probabilities))
            rows.append({"films": name, "figure": "macro_auroc", **interval(told, len(sample))})
            if outline is not None:
                found[name] = told
        verdict = rules.all_at_most(list(found.values()), rules.BLANKED_AUROC)
        worst = max(found, key=lambda name: found[name].value)
        because = (
            f"{worst}: the classes are told with a macro AUROC of {found[worst].value:.2f} ("
            f"{found[worst].low:.2f} to {found[worst].high:.2f}); limit {rules.BLANKED_AUROC}"
        ) + rules.size_words(found[worst], rules.BLANKED_AUROC, len(sample))
        pictures = [Picture("a film, its lungs filled, their box filled", strip(tiles))]
        return self.finding(verdict, because, rows, pictures)


class OutlineAlone(Check):
    """Draw every film with two grey levels, one within and one outside the lungs, and measure what is told.

    Rows: the macro AUROC, and the AUROC of each pair of classes within one source. The two levels are the
    medians of all films, so that nothing but the outline differs.
    """

    name = "outline_alone"
    number = "B"
    title = "The outline of the lungs alone"
    limit = rules.OUTLINE_AUROC
    plot_title = "AUROC by the outline alone"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['pair']} {row['source']}".strip()

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if why := too_few(trial):
            return self.untold(why)
        sample = trial.sample
        inside = np.median([np.median(p[m]) for p, m in zip(sample.pixels, sample.masks)])
        outside = np.median([np.median(p[~m]) for p, m in zip(sample.pixels, sample.masks) if not m.all()])
        films = [np.where(m, inside, outside).astype(np.float32) for m in sample.masks]
        views = trial.views(films, sample.masks)
        probabilities = softmax(trial.run(views))
        told = trial.estimate(macro_auroc(trial.labels, probabilities))
        rows: list[dict[str, Any]] = [
            {"pair": "all classes", "source": "", "figure": "macro_auroc", **interval(told, len(sample))}
        ]
        figures = [(told, "the classes", len(sample))]
        for pair in within_sources(trial):
            area = trial.estimate(pair.area(pair.margin(probabilities)))
            n = int(pair.chosen.sum())
            row = {"pair": pair.name, "source": f"within {pair.source}", "figure": "auroc"}
            rows.append({**row, **interval(area, n)})
            figures.append((area, pair.words, n))
        verdict = rules.all_at_most([figure for figure, _, _ in figures], rules.OUTLINE_AUROC)
        worst, what, n = max(figures, key=lambda one: one[0].value)
        because = (
            f"the outline alone tells {what} with an AUROC of {worst.value:.2f} ({worst.low:.2f} to "
            f"{worst.high:.2f}); limit {rules.OUTLINE_AUROC}"
        ) + rules.size_words(worst, rules.OUTLINE_AUROC, n)
        shown = [view.astype(np.float32) / 255 for view in views[:3]]
        return self.finding(verdict, because, rows, [Picture("what the model is shown", strip(shown))])


def too_few(trial: Trial) -> str:
    """Say which class has too few films for an AUROC; empty where all have enough."""
    counts = np.bincount(trial.labels, minlength=len(trial.subject.classes))
    least = int(counts.argmin())
    wanted = rules.MIN_IMAGES // 2
    if counts[least] >= wanted:
        return ""
    name = trial.subject.classes[least]
    return f"{name} has {counts[least]} images in this sample; {wanted} of each class are needed"
