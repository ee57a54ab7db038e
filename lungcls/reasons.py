"""One thing that is wrong with an image, as the reader, the gate and the mask all report it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is wrong, with the number that shows it.

    Attributes
    ----------
    name : str
        One of :data:`lungcls.quality.REASONS`, or of :data:`lungcls.images.NOTES` for what the reader saw.
    value, threshold : float
        The measured value and the threshold that it missed.
    message : str
    corrected : bool
        Whether what is wrong was put right before the image was used.
    """

    name: str
    value: float
    threshold: float
    message: str
    corrected: bool = False
