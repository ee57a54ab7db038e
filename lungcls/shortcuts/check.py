"""What one check found: its verdict, its figures, its pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Verdict: TypeAlias = Literal["pass", "fail", "cannot tell"]

PASS: Final = "pass"
FAIL: Final = "fail"
UNTOLD: Final = "cannot tell"


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture for the page.

    Attributes
    ----------
    caption : str
    pixels : uint8 array [H, W] or [H, W, 3]
    """

    caption: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Check:
    """One check of one model.

    Attributes
    ----------
    name : str
        As in :data:`lungcls.shortcuts.suite.CHECKS`.
    title : str
    verdict : {"pass", "fail", "cannot tell"}
    because : str
        Why, with the figures that decided.
    rows : list of dict
        ``figure``, what it is about, ``value, low, high, n``.
    pictures : list of Picture
    """

    name: str
    title: str
    verdict: Verdict
    because: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the pictures, JSON-safe once nan are taken out."""
        return {
            "name": self.name,
            "title": self.title,
            "verdict": self.verdict,
            "because": self.because,
            "figures": self.rows,
        }


def untold(name: str, title: str, because: str, rows: list[dict[str, Any]] | None = None) -> Check:
    """Return a check that this data cannot tell."""
    return Check(name, title, UNTOLD, because, rows or [])


def joined(verdicts: list[Verdict]) -> Verdict:
    """One verdict of several: one failure fails all, and only all passes pass."""
    if FAIL in verdicts:
        return FAIL
    return PASS if verdicts and all(verdict == PASS for verdict in verdicts) else UNTOLD
