"""How far several answers about one image agree: views changed a little, or models of an ensemble."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcls.regions import View

Floats = NDArray[np.float64]

MAX_SHIFT: Final = 0.04
"""Of the view's side."""
MAX_SCALE: Final = 1.06
MAX_ANGLE: Final = 5.0
"""In degrees."""

# The root of x^5 = x + 1: its powers step through four dimensions as evenly as the golden ratio through one
# (Roberts 2018, The unreasonable effectiveness of quasirandom sequences).
_RATIO: Final = 1.1673039782614187


def changed_views(views: View, number: int) -> View:
    """Shift, scale and turn views a little: the same small change for all of them.

    Parameters
    ----------
    views : uint8 array [B, S, S]
    number : int
        Which change, from 0; always the same for a number, and any first few spread evenly.

    Returns
    -------
    uint8 array [B, S, S]
        What comes in from outside is black, as beside a letterboxed image. Films are not mirrored: the
        heart has its side.
    """
    unit = (0.5 + (number + 1) * _RATIO ** -np.arange(1.0, 5.0)) % 1 * 2 - 1
    size = views.shape[-1]
    right, down = unit[:2] * MAX_SHIFT * size
    scale = MAX_SCALE ** unit[2]
    angle = math.radians(unit[3] * MAX_ANGLE)
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    centre = size / 2
    # Pillow asks where each pixel of the result comes from.
    back = (
        cosine, sine, centre - cosine * (centre + right) - sine * (centre + down),
        -sine, cosine, centre + sine * (centre + right) - cosine * (centre + down),
    )  # fmt: skip
    moved = [
        Image.fromarray(view).transform((size, size), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
        for view in views
    ]
    return np.stack([np.asarray(view) for view in moved])


def entropy(probabilities: Floats) -> Floats:
    """Return the predictive entropy over the last axis, in nats: 0 is certain, log K knows nothing."""
    positive = np.where(probabilities > 0, probabilities, 1.0)
    return np.asarray(-(positive * np.log(positive)).sum(axis=-1))


def disagreement(members: Floats) -> Floats:
    """Return the mutual information between the class and which member is asked.

    Parameters
    ----------
    members : float64 array [M, ..., K]
        Probabilities of each member.

    Returns
    -------
    float64 array [...]
        In nats: the entropy of the mean less the mean of the entropies. 0 where all members say the same.

    References
    ----------
    Houlsby, Huszar, Ghahramani, Lengyel (2011), Bayesian Active Learning for Classification and Preference
    Learning, arXiv 1112.5745.
    """
    # Rounding can take the difference of two equal numbers below 0.
    return np.asarray(np.maximum(entropy(members.mean(axis=0)) - entropy(members).mean(axis=0), 0))
