"""The grey levels of a view: what is done to an image's tone before a network sees it.

A weight card names the tone that its network was trained on (``Card.tone``), and prediction does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lungcls.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

Pixels = npt.NDArray[np.float32]

EXTREMES: Final = (0.5, 99.5)
# Where these percentiles of 600 training films lie, in the median.
PLACED: Final = (0.005, 0.9)
# On the validation part, spreading every film would cost macro-F1; spreading those below this costs none, and
# twelve or fourteen bits in sixteen, and a gain down to a half, are below it (benchmarks/constancy.py).
FLAT: Final = 0.55
_DARK, _BRIGHT = 0.2, 0.75


def stretch(pixels: Pixels) -> Pixels:
    """Spread the grey levels of an image that fills little of the range, and leave all others.

    12 bits kept in a 16-bit file, or a DICOM without a window, look black to a network although nothing
    is lost.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]

    Returns
    -------
    float32 array [H, W] in [0, 1]
        As :func:`level` has it where the percentiles 0.5 and 99.5 are less than 0.55 apart; else `pixels`.
    """
    sample = _sample(pixels)
    few = sample.size // 100 + 2
    if np.count_nonzero(sample < _DARK) > few and np.count_nonzero(sample > _BRIGHT) > few:
        return pixels  # so that the percentiles are further apart; most films take this short way
    low, high = np.percentile(sample, EXTREMES)
    return _placed(pixels, low, high) if high - low < FLAT else pixels


def level(pixels: Pixels) -> Pixels:
    """Put an image's grey levels where those of every other image are, whatever its range was.

    The percentiles 0.5 and 99.5 become 0.005 and 0.9, as they are on a film of the training data: an affine
    change of grey gives the same pixels, and a bit depth nearly the same, and there is no range at which
    another rule begins. A gamma is not taken back, nor a window that clips more than half a percent.
    ``benchmarks/constancy.py`` measures what that does for the answers.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]

    Returns
    -------
    float32 array [H, W] in [0, 1]
        `pixels` itself where the two percentiles are one, as in a constant image.
    """
    return _placed(pixels, *np.percentile(_sample(pixels), EXTREMES))


def _placed(pixels: Pixels, low: float, high: float) -> Pixels:
    """Put two grey levels where those of every film are."""
    if not high > low:
        return pixels
    scale = np.float32((PLACED[1] - PLACED[0]) / (high - low))
    levelled: Pixels = np.clip((pixels - np.float32(low)) * scale + np.float32(PLACED[0]), 0, 1)
    return levelled


_TONES: Final[dict[str, Callable[[Pixels], Pixels]]] = {"range": stretch, "levels": level}

TONES: Final = tuple(_TONES)
"""``range`` spreads flat images and leaves all others (:func:`stretch`); ``levels`` gives every image the
same range (:func:`level`)."""


def apply(pixels: Pixels, tone: str = "range") -> Pixels:
    """Give an image the tone that a network was trained on.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    tone : str, default="range"
        One of :data:`TONES`.

    Returns
    -------
    float32 array [H, W] in [0, 1]

    Raises
    ------
    OptionError
        If the tone is not known.
    """
    if tone not in _TONES:
        raise OptionError(f"unknown tone {tone!r}; the tones are {', '.join(TONES)}")
    return _TONES[tone](pixels)


def _sample(pixels: Pixels) -> Pixels:
    """Every so many rows and columns: they tell percentiles as well as a whole film."""
    step = max(1, min(pixels.shape) // 256)
    return pixels[::step, ::step]
