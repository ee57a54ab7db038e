"""Stored values of any type to grey floats in [0, 1], and the checks that every image passes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.errors import ImageError, ImageSizeError
from lungcls.reasons import Reason

MAX_MEGAPIXELS: Final = 64.0
"""Default of the largest image that is decoded."""

# No film of five public collections (1,068 drawn) spans less than half of its range; 14 bits kept in 16 span
# a quarter, 12 bits a sixteenth.
NARROW: Final = 0.3
"""Share of the range of their type that grey values must span, or they were kept in too wide a type."""

ENOUGH_LEVELS: Final = 48
"""Different grey values from which on a film of a narrow range can be spread (:mod:`lungcls.tone`) and loses
nothing that an answer hangs on; below, its steps show."""

SQUARE: Final = 1.02
"""Sides of a pixel that differ by no more than this factor count as equal."""

COLOUR: Final = 0.25
"""Share of the range by which the channels of a pixel differ that is not grey or tinted."""

COLOURED: Final = 0.1
"""Share of such pixels above which a picture has colours; letters and markers cover less."""

ODD_ASPECT: Final = 5.0
"""Beyond it, a stated aspect of pixels is damage."""


@dataclass(frozen=True, slots=True, eq=False)
class Grey:
    """A decoded image: float32 [H, W] in [0, 1], what was noticed, and the size of its pixels.

    Attributes are those of :class:`lungcls.images.Image`.
    """

    pixels: NDArray[np.float32]
    notes: tuple[Reason, ...] = ()
    pixel_spacing: tuple[float, float] | None = None
    pixel_aspect: float = 1.0


def narrow_range(pixels: NDArray[np.float32]) -> tuple[Reason, ...]:
    """Return a note where the values fill too little of [0, 1]: corrected, unless they are too few."""
    smallest, largest = float(pixels.min()), float(pixels.max())
    if not 0 < largest - smallest < NARROW:
        return ()
    filled = (
        f"the grey values fill {largest - smallest:.1%} of the range that their type allows ({smallest:.3g} "
        f"to {largest:.3g} of 1)"
    )
    step = max(1, min(pixels.shape) // 256)
    levels = np.unique(pixels[::step, ::step]).size
    if levels >= ENOUGH_LEVELS:
        message = f"{filled} and were spread"
    else:
        message = f"{filled}, in {levels} steps; give the film with more grey levels, or value_range=(lo, hi)"
    return (Reason("narrow_range", largest - smallest, NARROW, message, corrected=levels >= ENOUGH_LEVELS),)


def coloured(values: NDArray[Any]) -> tuple[Reason, ...]:
    """Return a note where an 8-bit picture [H, W, 3] or [3, H, W] has colours that are no film's."""
    if values.ndim != 3 or values.dtype != np.uint8 or 3 not in (values.shape[0], values.shape[2]):
        return ()
    values = values if values.shape[2] == 3 else np.moveaxis(values, 0, -1)
    few = values[:: max(1, values.shape[0] // 256), :: max(1, values.shape[1] // 256)]
    share = float((np.ptp(few, axis=2) > 255 * COLOUR).mean())
    if share <= COLOURED:
        return ()
    message = (
        f"{share:.0%} of the pixels have colour, which no film has: false colours, or a drawing over it; "
        "their luminance is taken"
    )
    return (Reason("colour", share, COLOURED, message),)


def checked_aspect(aspect: float) -> tuple[float, tuple[Reason, ...]]:
    """Return height over width of a pixel (1 for all that is nearly square) and a note where it is not 1."""
    if not (math.isfinite(aspect) and aspect > 0):
        return 1.0, ()
    stretch = max(aspect, 1 / aspect)
    if stretch <= SQUARE:
        return 1.0, ()
    sides = f"the pixels are {aspect:.3g} times as high as they are wide"
    if stretch > ODD_ASPECT:
        message = f"the file says that {sides}, which no X-ray is; they are taken for square"
        return 1.0, (Reason("pixel_aspect", stretch, ODD_ASPECT, message),)
    message = f"{sides}; the networks see the film as it is"
    return aspect, (Reason("pixel_aspect", stretch, SQUARE, message, corrected=True),)


def checked_limit(max_megapixels: float) -> float:
    """Return the limit in pixels, or refuse one that is no positive number."""
    try:
        limit = float(max_megapixels) * 1e6
    except (TypeError, ValueError):
        limit = math.nan
    if not limit > 0:
        raise ImageError(
            f"max_megapixels: found {max_megapixels!r}, expected a positive number; leave it out for "
            f"{MAX_MEGAPIXELS:g}, or pass math.inf for no limit"
        )
    return limit


def checked_range(value_range: Any) -> tuple[float, float] | None:
    """Return the range as two floats, or refuse one that is not (lo, hi) with lo < hi."""
    if value_range is None:
        return None
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if isinstance(value_range, str) or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ImageError(
            f"value_range: found {value_range!r}, expected two finite numbers (lo, hi) with lo < hi; pass "
            "the values that stand for black and white, such as (0, 4095)"
        )
    return low, high


def check_size(height: int, width: int, name: str, limit: float) -> None:
    """Refuse images without pixels, and those with more pixels than `limit`."""
    if height < 1 or width < 1:
        raise ImageError(
            f"{name}: found an image of {height} x {width} pixels, expected at least one row and one column; "
            "pass an image with content"
        )
    if height * width > limit:
        raise ImageSizeError.of(
            name,
            f"found {height} x {width} pixels ({height * width / 1e6:.1f} megapixels), expected at most "
            f"{limit / 1e6:g}",
            "raise max_megapixels if you trust the file",
        )


def array_to_unit(
    array: NDArray[Any], name: str, bounds: tuple[float, float] | None, limit: float
) -> NDArray[np.float32]:
    """Check the shape of a caller's array, size included, and scale it to grey in [0, 1]."""
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ImageError(
            f"{name}: found a masked array ({np.ma.getmaskarray(array).sum()} pixels are masked), expected "
            "pixels without gaps; say what stands there: array.filled(value)"
        )
    values = np.asarray(array)
    values = values.astype(
        values.dtype.newbyteorder("="), copy=False
    )  # big-endian data compares unlike its type
    if values.dtype.kind not in "buif":
        raise ImageError(
            f"{name}: found values of type {values.dtype}, expected bool, integers or floats; convert them"
        )
    shape = tuple(values.shape)
    if 0 in shape:
        raise ImageError(
            f"{name}: found an empty array of shape {shape}, expected pixels; check how it was cut"
        )
    if values.ndim == 3:
        first, last = shape[0] in (1, 3), shape[2] in (1, 3)
        if first and last:
            raise ImageError(
                f"{name}: found the ambiguous shape {shape}, whose channels may stand first or last, "
                "expected [H, W]; pass a grey array of two dimensions"
            )
        if first:
            values = np.moveaxis(values, 0, -1)
        if first or last:
            values = values[..., 0] if values.shape[-1] == 1 else values
            check_size(values.shape[0], values.shape[1], name, limit)
            return to_unit(values, name, bounds)
    if values.ndim != 2:
        advice = "pass a batch as a list of images, one by one" if values.ndim > 2 else "reshape it"
        raise ImageError(
            f"{name}: found an array of shape {shape}, expected [H, W], [1, H, W], [H, W, 1], [H, W, 3] or "
            f"[3, H, W]; {advice}, and drop an alpha channel"
        )
    check_size(values.shape[0], values.shape[1], name, limit)
    return to_unit(values, name, bounds)


def to_unit(
    values: NDArray[Any], name: str, bounds: tuple[float, float] | None, full: float | None = None
) -> NDArray[np.float32]:
    """Scale [H, W] or [H, W, 3] stored values to grey in [0, 1].

    `full` is the value of white where it is not the largest that the type can hold.
    """
    if values.ndim == 3:
        red, green, blue = (values[..., channel] for channel in range(3))
        if np.array_equal(red, green) and np.array_equal(red, blue):
            values = red
        elif values.dtype == np.uint8:
            # The integers of Pillow's "L", so that an array and a file of the same picture agree.
            weighted = red.astype(np.uint32) * 19595 + green.astype(np.uint32) * 38470
            weighted += blue.astype(np.uint32) * 7471 + 0x8000
            values = (weighted >> 16).astype(np.uint8)
        else:
            scaled = to_unit(values.reshape(values.shape[0], -1), name, bounds, full).reshape(values.shape)
            grey = scaled @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
            return np.clip(grey, 0.0, 1.0)
    kind = values.dtype.kind
    if kind == "f" and not np.isfinite(values).all():
        raise ImageError(
            f"{name}: found {np.count_nonzero(~np.isfinite(values))} values that are NaN or infinite, "
            "expected finite ones; replace them"
        )
    if bounds is None and kind == "b":
        return values.astype(np.float32)
    if bounds is None and values.dtype in (np.uint8, np.uint16):
        white = full or float(np.iinfo(values.dtype).max)
        scaled = values.astype(np.float32)
        scaled /= np.float32(white)
        return scaled
    if bounds is None and kind != "f":
        raise ImageError(
            f"{name}: found values of type {values.dtype} from {values.min()} to {values.max()}, expected "
            "uint8, uint16, bool, or floats in [0, 1]; pass value_range=(lo, hi) to say which values are "
            "black and white"
        )
    low, high = bounds or (0.0, 1.0)
    smallest, largest = float(values.min()), float(values.max())
    if smallest < low or largest > high:
        advice = (
            "pass a range that holds them, or clip them"
            if bounds
            else "pass value_range=(lo, hi), or clip them"
        )
        raise ImageError(
            f"{name}: found values from {smallest:.8g} to {largest:.8g}, expected all in [{low:g}, "
            f"{high:g}]; {advice}"
        )
    if bounds is None:
        return values.astype(np.float32)
    ranged: NDArray[np.float64] = (values.astype(np.float64) - low) / (high - low)
    return ranged.astype(np.float32)
