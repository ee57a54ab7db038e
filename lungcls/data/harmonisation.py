"""Lungs of one sharpness and one histogram: what is left where these tell nothing."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungcls.data.statistics import bands, inner, strengths, within
from lungcls.regions import Mask, Pixels

Floats = NDArray[np.float64]

_LEVELS: Final = np.linspace(0, 1, 101)
_SIGMAS: Final = np.linspace(0.3, 3.0, 10).tolist()

SHARPNESS_QUANTILE: Final = 0.05
"""Of the films' sharpness: to that, films are blurred, the bluntest in twenty."""

_GAIN: Final = (0.25, 4.0)


def sharpness(pixels: Pixels, mask: Mask) -> float:
    """Return the strength of the finest band of detail in the lungs over that of the third, 0 or more."""
    strength = strengths(pixels, mask, 3)
    return float(strength[0] / max(strength[2], 1e-6))


def blurred_to(pixels: Pixels, mask: Mask, target: float) -> Pixels:
    """Blur the lungs by the least of ten Gaussians that brings their sharpness down to a target.

    Parameters
    ----------
    pixels : float32 array [H, W]
    mask : bool array [H, W]
    target : float
        As :func:`sharpness`; films below it are left as they are.

    Returns
    -------
    float32 array [H, W]
    """
    if sharpness(pixels, mask) <= target:
        return pixels
    film = within(pixels, mask)

    def blurred(sigma: float) -> Pixels:
        return np.where(mask, ndimage.gaussian_filter(film, sigma), pixels).astype(np.float32)

    # Sharpness falls with the blur: halving finds the least in four steps.
    place = bisect_left(_SIGMAS, True, key=lambda sigma: sharpness(blurred(sigma), mask) <= target)
    return blurred(_SIGMAS[min(place, len(_SIGMAS) - 1)])


def grey_levels(pixels: Pixels, mask: Mask) -> Floats:
    """Return 101 quantiles of the grey levels in the lungs."""
    return np.asarray(np.quantile(pixels[mask], _LEVELS), np.float64)


def toned(pixels: Pixels, mask: Mask, levels: Floats) -> Pixels:
    """Give the lungs other grey levels, in the order of their own: histogram matching.

    Parameters
    ----------
    pixels : float32 array [H, W]
    mask : bool array [H, W]
    levels : float64 array [101]
        As :func:`grey_levels`.
    """
    own = grey_levels(pixels, mask) + 1e-7 * _LEVELS  # rising, also where many pixels share a level
    matched: Pixels = pixels.copy()
    matched[mask] = np.interp(pixels[mask], own, levels)
    return matched


def transplanted(pixels: Pixels, mask: Mask, strength: Floats, levels: Floats) -> Pixels:
    """Give the lungs of one film the signature of another's: grain, sharpness and tone.

    Parameters
    ----------
    pixels : float32 array [H, W]
    mask : bool array [H, W]
    strength : float64 array [4]
        Of the other film, as :func:`lungcls.data.statistics.strengths`; each of the three finest bands
        is multiplied by at most 4 or a quarter.
    levels : float64 array [101]
        Of the other film, as :func:`grey_levels`.
    """
    film, kept = within(pixels, mask), inner(mask)
    details = bands(film, 3)
    own = np.asarray([float(band[kept].std()) for band in details])
    gains = np.clip(strength[:3] / np.maximum(own, 1e-6), *_GAIN)
    changed = film + sum(np.float32(gain - 1) * band for gain, band in zip(gains, details))
    return toned(np.where(mask, np.clip(changed, 0, 1), pixels).astype(np.float32), mask, levels)
