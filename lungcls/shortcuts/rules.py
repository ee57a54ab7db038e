"""The fixed rules of the verdicts. docs/shortcuts.md gives the reason of each; they were written before any
number.

A figure passes a rule where its whole interval lies on the good side of the limit, fails it where the whole
interval lies on the bad side, and cannot tell otherwise. Of several figures, all must pass; that one fails is
judged with Holm's correction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from scipy import stats

from lungcls.evaluation import cells
from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.paired import holm
from lungcls.shortcuts.check import FAIL, PASS, UNTOLD, Verdict, joined

MIN_IMAGES: Final = cells.MIN_FILMS
"""Fewer images (or composites) than this on either side of a figure cannot tell anything."""

LUNGS_DECIDE: Final = 2 / 3
"""Check 1: of the composites that go with either, this share must go with the lungs (twice as often)."""

CONTROL_KEPT: Final = 0.5
"""Check 1: where fewer of the control composites keep their class, the pasting itself decides."""

SOURCE_AUROC: Final = 0.75
"""Check 2: features from which the source within one class can be told better than this carry it."""

SAME_SOURCE_GAP: Final = 0.10
"""Check 3: pairs of classes that cross sources may be told apart by so much more than those within one."""

SAME_SOURCE_AUROC: Final = 0.80
"""Check 3: below this within a source, a model does not tell the classes but the sources."""

LEFT_OUT_DROP: Final = 0.10
"""Check 4: recall of a class on a source that was not trained on may be so much lower."""

LEAKED_SHARE: Final = 0.01
"""Check 5: share of the examined images that may have a near duplicate in the training part."""

LEAKAGE_GAIN: Final = 0.02
"""Check 5: macro-F1 that a split without groups may seem better by."""

ROBUST_DROP: Final = 0.05
"""Check 6: macro-F1 that a small change of the image may cost."""

PART_AUROC: Final = 0.70
"""Check 7: corners, borders or shoulders shown alone must not tell the classes better than this."""

SHUFFLED_AUROC: Final = 0.55
"""Check 8: a model trained on shuffled labels must not reach this on true ones."""

PROCESSING_DROP: Final = 0.05
"""Check 8: macro-F1 that leaving out the reprocessed images may cost."""

CAM_OVER_CHANCE: Final = 1 / 2
"""Check 9: so much of the way from chance to a map that marks the lungs as well as its resolution allows must
the share of the CAM inside the lungs go; and it must be above that of random weights."""

BOX_KEPT: Final = 0.5
"""Check 9: a film's boxes count as kept where the lung mask keeps at least this share of their area."""

EXTERNAL_DROP: Final = 0.10
"""Check 10: balanced accuracy that another hospital may cost."""

PROCESSING_GAP: Final = 0.10
"""Check 8: recall of one class on images of two processings may differ by so much; `lungcls audit` asks it of
any two subgroups."""

BLANKED_AUROC: Final = 0.70
"""Check A: films whose lungs were blanked must not be told better than this."""

OUTLINE_AUROC: Final = 0.70
"""Check B: the outline of the lungs alone must not tell the classes better than this."""

ABOVE_STATISTIC: Final = 0.05
"""Check C: AUROC within a source that a model must have above a learner on numbers of the lungs."""

UNTESTABLE_AUROC: Final = 0.90
"""Check D: pairs told so well without looking for a disease are barred from headlines."""

HARMONISED_DROP: Final = 0.05
"""Check E: macro-F1 that equal sharpness and equal grey levels of all lungs may cost."""

SHUFFLED_KEPT: Final = 0.5
"""Check F: of the AUROC above chance, the share that shuffled lungs may keep."""

TRANSPLANT_CHANGED: Final = 0.05
"""Check I: answers that another source's grain, sharpness and tone may change, beyond those of its own."""

PASTED_CHANGED: Final = 0.05
"""Check J: answers that a pasted object, or a mirror, may change."""

TIER_ACCURACY: Final = 0.85
"""Check K and the audit of predictions: accuracy of the answers of the tier "high" on an external set."""

SET_SHORTFALL: Final = 0.05
"""Check K and the audit of predictions: sets may hold the true class so much less often than they promise."""

CALIBRATION: Final = 0.05
"""Check K and the audit of predictions: the debiased calibration error may be at most this."""

PROJECTED_DROP: Final = 0.05
"""Check L: AUROC that taking the direction of a source out of the features may cost."""

BOX_AREA: Final = 0.10
"""Check M: area by which hiding the lungs must cost more than hiding what is around them."""

SKEW_DROP: Final = 0.10
"""Check N: balanced accuracy that another relation of class and source may cost."""

ABOVE_FRAME: Final = 0.10
"""Check O: AUROC within a source that a model must have above a learner on the frame or the outline."""

_ONE_SIDED: Final = 0.025  # a 95% interval lies on one side of a limit with this chance
_MOST: Final = 100_000  # images: more than any sample of films


def at_most(figure: Estimate, limit: float) -> Verdict:
    """Judge a figure that should not exceed a limit."""
    if figure.high <= limit:
        return PASS
    return FAIL if figure.low > limit else UNTOLD


def at_least(figure: Estimate, limit: float) -> Verdict:
    """Judge a figure that should reach a limit."""
    if figure.low >= limit:
        return PASS
    return FAIL if figure.high < limit else UNTOLD


def all_at_most(figures: Sequence[Estimate], limit: float) -> Verdict:
    """Judge several figures of which none should exceed a limit.

    All must pass for a pass, which needs no correction (an intersection-union test). One is enough for a
    failure, which does: chances are read from the intervals and adjusted for their number.

    Parameters
    ----------
    figures : sequence of Estimate
        With 95% intervals.
    limit : float

    References
    ----------
    Berger (1982), Multiparameter hypothesis testing and acceptance sampling, Technometrics 24(4), 295-300.
    Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6(2), 65-70.
    """
    if any(chance <= _ONE_SIDED for chance in holm([_chance(figure, limit) for figure in figures])):
        return FAIL
    verdict = joined([at_most(figure, limit) for figure in figures])
    return UNTOLD if verdict == FAIL else verdict


def all_at_least(figures: Sequence[Estimate], limit: float) -> Verdict:
    """Judge several figures that should all reach a limit; as :func:`all_at_most`."""
    return all_at_most([turned(figure) for figure in figures], -limit)


def deciding_size(figure: Estimate, limit: float, n: int) -> int | None:
    """Return how many images would decide, were the figure what it is now.

    Parameters
    ----------
    figure : Estimate
    limit : float
    n : int
        Images behind the figure.

    Returns
    -------
    int or None
        Rounded up to two digits: an interval shrinks with the root of their number. None where the figure has
        no interval or lies so near the limit that no sample of films would do.
    """
    reach = figure.high - figure.value if figure.value <= limit else figure.value - figure.low
    distance = abs(figure.value - limit)
    if not (math.isfinite(reach) and reach > 0) or distance < reach * math.sqrt(n / _MOST):
        return None
    wanted = max(n + 1, MIN_IMAGES, n * (reach / distance) ** 2)
    unit = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    return int(math.ceil(round(wanted / unit, 6)) * unit)


def figure_words(figure: Estimate, digits: int = 3) -> str:
    """Write a figure with its interval."""
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def size_words(figure: Estimate, limit: float, n: int) -> str:
    """Say which size would decide a figure that cannot be told; empty where it is told."""
    if not figure.low <= limit <= figure.high:
        return ""
    size = deciding_size(figure, limit, n)
    if size is None:
        return "; it lies so near the limit that no usual number of images would decide"
    return f"; about {size:,} images would decide, here are {n:,}"


def _chance(figure: Estimate, limit: float) -> float:
    """One-sided p value of a figure above a limit, such that 0.025 is an interval that begins at it."""
    if not math.isfinite(figure.low):
        return math.nan
    error = (figure.value - figure.low) / stats.norm.ppf(1 - _ONE_SIDED)
    if error <= 0:
        return 0.0 if figure.value > limit else 1.0
    return float(stats.norm.sf((figure.value - limit) / error))


def beyond(figure: Estimate, limit: float) -> Estimate:
    """Return a figure minus its limit: figures with limits of their own are judged together at 0."""
    return Estimate(figure.value - limit, figure.low - limit, figure.high - limit)


def turned(figure: Estimate) -> Estimate:
    """Return the opposite of a figure."""
    return Estimate(-figure.value, -figure.high, -figure.low)
