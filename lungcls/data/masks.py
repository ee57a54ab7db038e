"""Lung masks as people keep them: any format, label maps, colours, a file a lung; both lungs each time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray
from scipy import ndimage

from lungcls.errors import DataError
from lungcls.images import image_size
from lungcls.quietly import library_warnings, one_line
from lungcls.regions import Mask

_BINS: Final = 32  # levels that a mask is looked at in
_SHARE: Final = 0.05  # of the pixels that are not black, from which a level is a label and no soft edge
_SHADES: Final = 0.25  # share of neither dark nor bright pixels from which a picture is no mask,
_LIT_SHADES: Final = 0.5  # and their share of the pixels that are not black
_NEAR: Final = 0.06  # of the largest value, within which pixels have one of two labels
_BORDER: Final = 0.9  # share of the border that is bright where a mask is inverted
_PROPORTIONS: Final = 0.03  # by which width over height of mask and image may differ
_HAZE: Final = 3  # darkest levels, which a soft edge fills as a label does where there are many values
_OUTLINE: Final = 0.06  # share of the image that an outline covers at most; the smallest lungs cover 4.5%
_HOLLOW: Final = 2.0  # times the area that a mask has once its holes are filled, from which it is an outline


def read_mask(path: str | Path, *, labels: Sequence[int] | None = None) -> Mask:
    """Read a lung mask.

    Parameters
    ----------
    path : path-like
        An image of any mode and format that Pillow opens (the Radiography Database's masks are RGB, those of
        JSRT GIF), turned as its EXIF says.
    labels : sequence of int, optional
        The values that are lung, where a label map holds other organs too.

    Returns
    -------
    bool array [h, w]
        True in both lungs: where the value is above half of the largest one (masks of 0 and 1 count too); of
        a label map with two labels, or two colours, above half of the lower one, so that left and right both
        count. A mask kept in the alpha channel is read from there.

    Raises
    ------
    DataError
        The file cannot be read as an image, holds more than two labels, is a picture with shades, is
        inverted (the border is bright), or holds the lungs' outlines alone.
    """
    values = _values(Path(path))
    if labels is not None:
        return np.isin(values, labels)
    top = float(values.max())
    if top <= 0:
        return np.zeros(values.shape, np.bool_)
    levels = _levels(values / top)
    if len(levels) > 2:
        listed = ", ".join(f"{level * top:.4g}" for level in levels)
        raise DataError(
            f"{path}: holds {len(levels)} labels besides black (about {listed}); expected one or two for the "
            "lungs. Keep the lungs alone, or say which values they have: read_mask(path, labels=(1, 2))"
        )
    low = min(levels, default=1.0) * top if len(levels) == 2 else top
    if low < top:
        settled = np.any([abs(values - level * top) < _NEAR * top for level in levels], axis=0)
    else:
        settled = values >= 0.8 * top
    lit = values > 0.2 * low
    shades = int((lit & ~settled).sum())
    if shades > _SHADES * values.size or shades > _LIT_SHADES * lit.sum():
        raise DataError(
            f"{path}: {shades / values.size:.0%} of all pixels and {shades / lit.sum():.0%} of those not "
            f"black are neither dark nor bright (at most {_SHADES:.0%} and {_LIT_SHADES:.0%} in a mask): "
            "this is a picture, not a lung mask"
        )
    mask = np.asarray(values > low / 2)
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    if border.mean() > _BORDER and values.min() < top:
        raise DataError(
            f"{path}: {border.mean():.0%} of the border is bright; expected lungs that are bright on black. "
            "The mask is inverted, or its background has a colour: save it with a black background"
        )
    if _is_outline(mask):
        raise DataError(
            f"{path}: holds outlines, not lungs: filled, they cover {_HOLLOW:g} times as much or more. Fill "
            "them: scipy.ndimage.binary_fill_holes(mask)"
        )
    return mask


def _is_outline(mask: Mask) -> bool:
    if not 0 < mask.mean() < _OUTLINE:
        return False
    return bool(ndimage.binary_fill_holes(mask).sum() >= _HOLLOW * mask.sum())


def check_proportions(mask: Mask, mask_path: Path, image_path: Path) -> None:
    """Refuse a mask that is not a smaller or larger picture of the same film.

    Raises
    ------
    DataError
        If width over height differ by more than 3%, a pixel more or less allowed. Which of stretching,
        padding and cutting it was, nobody can tell.
    """
    size = image_size(image_path)
    if size is None:  # unreadable: reading the image says so
        return
    height, width = size
    rows, columns = mask.shape
    off = abs(columns * height - rows * width)
    if off > _PROPORTIONS * rows * width and off > max(height, width):
        raise DataError(
            f"{mask_path}: the mask has {rows} x {columns} pixels and its image {height} x {width}: other "
            "proportions. Whether it was stretched, padded or cut cannot be told: save it at the size of the "
            "image"
        )


def _values(path: Path) -> NDArray[Any]:
    try:
        with library_warnings(str(path), "mask"), PIL.Image.open(path) as opened:
            frames = getattr(opened, "n_frames", 1)
            if frames != 1:
                raise DataError(f"{path}: holds {frames} pictures; expected one lung mask")
            picture = PIL.ImageOps.exif_transpose(opened)
            if picture.mode in ("P", "PA", "La", "RGBa", "CMYK", "YCbCr", "HSV"):
                clear = "transparency" in picture.info or "A" in picture.mode or "a" in picture.mode
                picture = picture.convert("RGBA" if clear else "RGB")
            values = np.asarray(picture)
    except DataError:
        raise
    except Exception as error:  # a damaged header makes Pillow raise nearly any kind
        message = f"{path}: not readable as a lung mask ({one_line(error)}); expected an image file"
        raise DataError(message) from error
    if picture.mode in ("LA", "RGBA"):
        values = _with_alpha(values[..., :-1], values[..., -1])
    if values.ndim == 3:
        values = values.max(axis=-1)  # a colour is a label, however bright it looks
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)


def _with_alpha(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if (alpha == alpha[0, 0]).all():
        return colours
    if (colours == colours[0, 0]).all():
        return alpha
    return np.where(alpha[..., None] > 127, colours, 0).astype(np.uint8)


def _levels(values: NDArray[np.float64]) -> list[float]:
    """Return the values, of the largest, that are labels: each run of well-filled bins of the histogram."""
    bins = np.bincount(np.rint(values * _BINS).astype(np.intp).ravel(), minlength=_BINS + 1)
    lit = int(np.count_nonzero(values))
    # A label such as 1 beside 255 falls into the bin of black, and so do the noise of a JPEG and soft edges.
    bins[0] -= values.size - lit
    if bins[:_HAZE].any() and np.unique(values).size > 4:
        bins[:_HAZE] = 0
    filled = bins >= max(1, _SHARE * lit)
    runs: list[list[int]] = []
    for place in np.flatnonzero(filled).tolist():
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    least = float(values[values > 0].min())
    return [max(float(np.average(run, weights=bins[run])) / _BINS, least) for run in runs]
