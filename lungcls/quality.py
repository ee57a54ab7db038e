"""Is the lung mask one that the rest can be trusted on?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from skimage import measure

from lungcls.regions import Mask

MIN_AREA: Final = 0.03
"""A mask that covers less of the image than this holds no lungs. The smallest of 6,390 true masks of frontal
films covers 4.5% (``scripts/mask_statistics.py``, ``benchmarks/results/mask_statistics.json``)."""

MIN_BALANCE: Final = 0.15
"""A second part smaller than this share of the first is no lung. The smallest true one has 0.27."""

MIN_MERGED_WIDTH: Final = 0.8
"""One connected part at least this wide for its height is two lungs that touch, not one lung. Among the true
masks 0.8% of the single lungs are wider than that, and 1.9% of the pairs narrower."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is wrong, with the number that shows it.

    Attributes
    ----------
    name : {"no_lungs", "one_lung"}
    value, threshold : float
        The measured value and the threshold that it missed.
    message : str
    """

    name: str
    value: float
    threshold: float
    message: str


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured on a lung mask, and what is wrong with it.

    Attributes
    ----------
    mask_area : float
        Share of the image that the mask covers, in [0, 1].
    lungs : int
        Lungs found: 0, 1 or 2.
    balance : float
        Area of the smaller lung over that of the larger, in [0, 1]; 1 where two lungs touch, 0 where there is
        only one.
    reasons : tuple of Reason
        Empty where nothing is wrong.
    """

    mask_area: float
    lungs: int
    balance: float
    reasons: tuple[Reason, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-safe values."""
        return {"ok": self.ok, **asdict(self)}


def mask_quality(mask: Mask) -> Quality:
    """Measure a lung mask.

    Parameters
    ----------
    mask : bool array [H, W]

    Returns
    -------
    Quality
    """
    area = float(mask.mean())
    if area < MIN_AREA:
        reason = Reason("no_lungs", area, MIN_AREA, f"the lung mask covers {area:.1%} of the image")
        return Quality(area, 0, 0.0, (reason,))
    parts = sorted(measure.regionprops(measure.label(mask, connectivity=1)), key=lambda part: -part.area)
    balance = float(parts[1].area / parts[0].area) if len(parts) > 1 else 0.0
    if balance >= MIN_BALANCE:
        return Quality(area, 2, balance, ())
    top, left, bottom, right = parts[0].bbox
    if (right - left) / (bottom - top) >= MIN_MERGED_WIDTH:
        return Quality(area, 2, 1.0, ())
    message = f"only one lung was found: the second part has {balance:.1%} of its area"
    return Quality(area, 1, balance, (Reason("one_lung", balance, MIN_BALANCE, message),))
