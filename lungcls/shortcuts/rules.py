"""The fixed rules of the verdicts. docs/shortcuts.md gives the reason of each; they were written before any
number.

A figure passes a rule where its whole interval lies on the good side of the limit, fails it where the whole
interval lies on the bad side, and cannot tell otherwise.
"""

from __future__ import annotations

from typing import Final

from lungcls.evaluation.bootstrap import Estimate
from lungcls.shortcuts.check import FAIL, PASS, UNTOLD, Verdict

MIN_IMAGES: Final = 20
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
