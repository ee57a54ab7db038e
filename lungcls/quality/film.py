"""What a film's own pixels say against it, before any network looks at it."""

from __future__ import annotations

from typing import Final

from lungcls.images import Image
from lungcls.reasons import Reason

MIN_SIDE: Final = 64
"""A film whose shorter side has fewer pixels shows too little to tell. ``benchmarks/small_images.py`` shrinks
validation films and measures from which side on the answers are those of the whole film."""

WITHHOLDING: Final = ("too_small",)
"""Reasons of this module for which no label is given."""


def film_reasons(image: Image) -> tuple[Reason, ...]:
    """Return what is wrong with a film as it was read: its reader's notes, and a size too small to tell.

    Parameters
    ----------
    image : Image

    Returns
    -------
    tuple of Reason
        Empty where nothing is.
    """
    side = min(image.height, image.width)
    if side >= MIN_SIDE:
        return image.notes
    message = (
        f"the film has {side} pixels on its shorter side, too few to tell; give one of {MIN_SIDE} or more"
    )
    return (Reason("too_small", side, MIN_SIDE, message), *image.notes)
