"""What was measured on a film and its mask, in plain types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lungcls.reasons import Reason
from lungcls.regions import Pixels


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured on an image and on its lung mask, and what is wrong with them.

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
    accepted : bool
        False where the image is no chest X-ray; the pipeline then gives no label.
    values : dict of str to float
        All other measured values by name, those that passed included.
    """

    mask_area: float
    lungs: int
    balance: float
    reasons: tuple[Reason, ...]
    accepted: bool = True
    values: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong that was not corrected."""
        return all(reason.corrected for reason in self.reasons)

    @property
    def both_lungs(self) -> bool:
        """Whether both lungs were found, so that a region can be cut along the mask."""
        return self.lungs == 2

    @property
    def corrected(self) -> tuple[str, ...]:
        """Names of the reasons that were corrected."""
        return tuple(reason.name for reason in self.reasons if reason.corrected)

    def apply(self, pixels: Pixels) -> Pixels:
        """Return an image, float32 [H, W] in [0, 1], as the stages saw it: inverted back where it was."""
        return np.float32(1) - pixels if "inverted" in self.corrected else pixels

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-safe values."""
        return {"ok": self.ok, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Quality:
        """Return what :meth:`to_dict` made values of."""
        fields = {name: value for name, value in values.items() if name != "ok"}
        return cls(**{**fields, "reasons": tuple(Reason(**reason) for reason in fields["reasons"])})
