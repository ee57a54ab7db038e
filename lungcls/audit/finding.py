"""What the audit of predictions asks, its rules, and the form of its answers.

The rules were written before any figure; docs/audit.md gives the reason of each. What a check of pixels asks,
too, is judged by that check's limit (:mod:`lungcls.shortcuts.rules`). A figure passes where its whole
interval lies on the good side of the limit, fails on the other, else cannot tell.
"""

from __future__ import annotations

from lungcls.shortcuts.check import NOT_APPLICABLE, Finding, Row
from lungcls.shortcuts.rules import MIN_IMAGES
from lungcls.shortcuts.sample import interval


def not_applicable(name: str, title: str, because: str) -> Finding:
    """Return a question that this data does not raise."""
    return Finding(name, title, NOT_APPLICABLE, because)


__all__ = [
    "MIN_IMAGES",
    "Finding",
    "Row",
    "interval",
    "not_applicable",
]
