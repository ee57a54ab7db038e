"""What stage 2 is shown: an image and its lung mask become one network view.

A region is cut at the image's own size (:func:`cut`), then fitted into the network's square without
stretching (:func:`letterbox`). Training, evaluation, prediction and export all call :func:`view`, so
that an image gives the same pixels on every road.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from lungcls.errors import OptionError
from lungcls.tone import stretch as stretch  # the tone of views whose card names none

if TYPE_CHECKING:
    from collections.abc import Callable

Pixels = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
View = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Region:
    """Which part of an image a classifier sees.

    Parameters
    ----------
    name : str
        One of :data:`REGIONS`.
    margin : float, default=0.05
        Widens the lung box on each side, as a fraction of the box's longer side. Used by the regions that
        have a box (``crop``, ``mask``, ``background_box``).
    dilate : float, default=0.0
        Widens the lung mask by this fraction of the image's width before anything else.

    Raises
    ------
    ValueError
        If the name is not known, or a number is not in [0, 1].
    """

    name: str = "mask"
    margin: float = 0.05
    dilate: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in _CUTS:
            raise OptionError(f"unknown region {self.name!r}; the regions are {', '.join(REGIONS)}")
        for field in ("margin", "dilate"):
            value = getattr(self, field)
            if not 0 <= value <= 1:
                raise OptionError(f"region {field} is {value}; expected a fraction in [0, 1]")

    @property
    def needs_mask(self) -> bool:
        """Whether the region depends on the lung mask (all but ``full``)."""
        return self.name != "full"

    def to_dict(self) -> dict[str, Any]:
        """Return the region as plain values, as a weight card stores it."""
        return {"name": self.name, "margin": self.margin, "dilate": self.dilate}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where :func:`letterbox` put an image: pixel (0, 0) of it stands at (`x`, `y`) of the square.

    Attributes
    ----------
    size : int
        Side of the square, in pixels.
    x, y, width, height : int
        The part of the square that the image fills.
    """

    size: int
    x: int
    y: int
    width: int
    height: int


def lung_box(mask: Mask, margin: float = 0.0) -> Box | None:
    """Return the bounding box of a mask, clipped to the image.

    Parameters
    ----------
    mask : bool array [H, W]
    margin : float, default=0.0
        Added on each side, as a fraction of the box's longer side.

    Returns
    -------
    (x0, y0, x1, y1) or None
        Pixels, end exclusive; None where the mask is empty.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    x0, x1, y0, y1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    extra = round(margin * max(x1 - x0, y1 - y0))
    height, width = mask.shape
    return max(0, x0 - extra), max(0, y0 - extra), min(width, x1 + extra), min(height, y1 + extra)


def dilate_mask(mask: Mask, fraction: float) -> Mask:
    """Widen a mask by `fraction` of the image's width, with a round structuring element."""
    radius = fraction * mask.shape[1]
    box = lung_box(mask)
    reach = int(radius)
    if reach < 1 or box is None:
        return mask
    # Rows widened step by step, then laid over each other: a fraction of what a distance transform costs.
    x0, y0, x1, y1 = box
    height, width = mask.shape
    x0, y0, x1, y1 = max(0, x0 - reach), max(0, y0 - reach), min(width, x1 + reach), min(height, y1 + reach)
    inner = mask[y0:y1, x0:x1]
    wide = inner.copy()
    result = np.zeros_like(mask)
    target = result[y0:y1, x0:x1]
    across = 0
    steps = np.arange(reach + 1)
    for down in range(reach, -1, -1):
        while across < np.count_nonzero(np.sqrt(steps**2 + down**2) <= radius) - 1:
            across += 1
            wide[:, across:] |= inner[:, :-across]
            wide[:, :-across] |= inner[:, across:]
        if down < len(wide):
            target[down:] |= wide[: len(wide) - down]
            target[: len(wide) - down] |= wide[down:]
    return result


def _full(pixels: Pixels, mask: Mask, box: Box) -> Pixels:
    return pixels


def _crop(pixels: Pixels, mask: Mask, box: Box) -> Pixels:
    x0, y0, x1, y1 = box
    return pixels[y0:y1, x0:x1]


def _mask(pixels: Pixels, mask: Mask, box: Box) -> Pixels:
    return _mask_uncropped(_crop(pixels, mask, box), mask[box[1] : box[3], box[0] : box[2]], box)


def _mask_uncropped(pixels: Pixels, mask: Mask, box: Box) -> Pixels:
    return np.where(mask, pixels, np.float32(0))


def _background(pixels: Pixels, mask: Mask, box: Box) -> Pixels:
    return np.where(mask, np.float32(0), pixels)


def _background_box(pixels: Pixels, mask: Mask, box: Box) -> Pixels:
    x0, y0, x1, y1 = box
    result: Pixels = pixels.copy()
    result[y0:y1, x0:x1] = 0
    return result


def _silhouette(pixels: Pixels, mask: Mask, box: Box) -> Pixels:
    return mask.astype(np.float32)


_CUTS: Final[dict[str, Callable[[Pixels, Mask, Box], Pixels]]] = {
    "full": _full,
    "crop": _crop,
    "mask": _mask,
    "mask_uncropped": _mask_uncropped,
    "background": _background,
    "background_box": _background_box,
    "silhouette": _silhouette,
}

_CROPPED: Final = ("crop", "mask")

REGIONS: Final[tuple[str, ...]] = tuple(_CUTS)
"""The closed set of regions: ``full`` (whole image), ``crop`` (lung box), ``mask`` (lungs only, cropped to
their box), ``mask_uncropped`` (lungs only, in place), and the controls ``background`` (lungs removed),
``background_box`` (the lungs' box removed, so that no outline is left) and ``silhouette`` (the mask
alone)."""


def cut(pixels: Pixels, mask: Mask | None, region: Region) -> Pixels:
    """Cut a region out of an image.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    mask : bool array [H, W] or None
        The lung mask; may be None for the region ``full`` only.
    region : Region

    Returns
    -------
    float32 array [h, w] in [0, 1]
        What is removed is 0 (black).

    Raises
    ------
    ValueError
        If the mask is missing, empty, or not of the image's shape, and the region needs one.
    """
    if not region.needs_mask:
        return pixels
    mask, box = _widened(pixels.shape, mask, region)
    return _CUTS[region.name](pixels, mask, box)


def seen_box(shape: tuple[int, int], mask: Mask | None, region: Region) -> Box:
    """Return which part of an image :func:`cut` keeps, so that what is found in a view can be put back.

    Parameters
    ----------
    shape : (height, width)
        Of the image.
    mask : bool array [H, W] or None
        The lung mask; may be None for the region ``full`` only.
    region : Region

    Returns
    -------
    (x0, y0, x1, y1)
        Pixels, end exclusive; the whole image for the regions that do not crop.

    Raises
    ------
    ValueError
        As :func:`cut`.
    """
    whole = (0, 0, shape[1], shape[0])
    if not region.needs_mask:
        return whole
    _, box = _widened(shape, mask, region)
    return box if region.name in _CROPPED else whole


def _widened(shape: tuple[int, ...], mask: Mask | None, region: Region) -> tuple[Mask, Box]:
    """The mask and the lung box as a region widens them."""
    if mask is None or mask.shape != shape:
        found = "no mask" if mask is None else f"a mask of shape {mask.shape}"
        raise ValueError(f"region {region.name!r} needs a lung mask of shape {shape}; got {found}")
    mask = dilate_mask(mask, region.dilate)
    box = lung_box(mask, region.margin)
    if box is None:
        raise ValueError(f"region {region.name!r} cannot be cut out: the lung mask is empty")
    return mask, box


def place(shape: tuple[int, ...], size: int) -> Placement:
    """Return where an image of `shape` (height, width) goes in a square of side `size`.

    It is centred and not stretched.
    """
    height, width = shape
    scale = size / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    return Placement(size, (size - new_width) // 2, (size - new_height) // 2, new_width, new_height)


def letterbox(pixels: Pixels, size: int) -> tuple[View, Placement]:
    """Fit an image into a square without stretching it, black bars around it.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    size : int
        Side of the square, in pixels.

    Returns
    -------
    view : uint8 array [size, size]
        Rounded to 8 bits, so that what training keeps in memory is what prediction computes.
    placement : Placement
        For :func:`unletterbox`.
    """
    placement = place(pixels.shape, size)
    return _placed(pixels, placement), placement


def letterbox_mask(mask: Mask, placement: Placement) -> Mask:
    """Fit a mask into a square where :func:`letterbox` put its image, by nearest neighbour.

    Parameters
    ----------
    mask : bool array [h, w]
        Of any size: masks are often stored at another size than their images.
    placement : Placement
        Of the image.

    Returns
    -------
    bool array [size, size]
    """
    square = np.zeros((placement.size, placement.size), np.bool_)
    _filled(square, placement)[:] = resize_mask(mask, (placement.height, placement.width))
    return square


def letterbox_share(mask: Mask, placement: Placement) -> View:
    """Fit a mask into a square where :func:`letterbox` put its image, and keep where its outline runs.

    Nearest neighbour moves an outline by up to half a pixel of the larger grid; a share of each pixel says
    where it runs to a small part of one.

    Parameters
    ----------
    mask : bool array [h, w]
        Of any size: masks are often stored at another size than their images.
    placement : Placement
        Of the image.

    Returns
    -------
    uint8 array [size, size]
        How much of each pixel is inside the mask: 255 is all of it.
    """
    return _placed(mask.astype(np.float32), placement)


def resize_mask(mask: Mask, shape: tuple[int, int]) -> Mask:
    """Resize a mask by nearest neighbour to `shape` (height, width)."""
    if mask.shape == shape:
        return mask
    resized = PILImage.fromarray(mask.astype(np.uint8)).resize(
        (shape[1], shape[0]), PILImage.Resampling.NEAREST
    )
    return np.asarray(resized).astype(np.bool_)


def whole_view(pixels: Pixels, size: int) -> tuple[View, Placement]:
    """Fit a whole image into the network's square: the one road to stage 1.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    size : int

    Returns
    -------
    view : uint8 array [size, size]
    placement : Placement
        For :func:`unletterbox`, :func:`letterbox_mask` and :func:`letterbox_share`.
    """
    return letterbox(stretch(pixels), size)


def unletterbox(values: Pixels, placement: Placement, shape: tuple[int, int]) -> Pixels:
    """Map a network's output back onto the image that :func:`letterbox` was given.

    Parameters
    ----------
    values : float32 array [size, size]
    placement : Placement
    shape : (height, width)
        Of the original image.

    Returns
    -------
    float32 array [height, width]
        Interpolated bilinearly.
    """
    inner = np.ascontiguousarray(_filled(values, placement))
    resized = PILImage.fromarray(inner).resize((shape[1], shape[0]), PILImage.Resampling.BILINEAR)
    return np.asarray(resized)


def view(pixels: Pixels, mask: Mask | None, region: Region, size: int) -> View:
    """Cut a region and fit it into the network's square: the one road to stage 2.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    mask : bool array [H, W] or None
    region : Region
    size : int

    Returns
    -------
    uint8 array [size, size]

    Raises
    ------
    ValueError
        As :func:`cut`.
    """
    return letterbox(cut(stretch(pixels), mask, region), size)[0]


def view_and_lungs(pixels: Pixels, mask: Mask, region: Region, size: int) -> tuple[View, View]:
    """Return a region's view before anything in it is blackened, and the lungs beside it.

    Training uses it to draw another outline or other surroundings for the lungs at each epoch.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    mask : bool array [H, W]
    region : Region
        Its box and the widening of its mask are used; that of ``full`` is the whole image.
    size : int

    Returns
    -------
    view : uint8 array [size, size]
    lungs : uint8 array [size, size]
        255 within the mask, 0 outside it, between the two at its edge.

    Raises
    ------
    ValueError
        As :func:`cut`.
    """
    widened, box = _widened(pixels.shape, mask, region)
    keep = _crop if region.name in _CROPPED else _full
    seen, lungs = keep(stretch(pixels), widened, box), keep(widened.astype(np.float32), widened, box)
    return letterbox(seen, size)[0], letterbox(lungs, size)[0]


def _filled(square: npt.NDArray[Any], placement: Placement) -> npt.NDArray[Any]:
    """The part of a square that its image fills, as a view into it."""
    return square[placement.y : placement.y + placement.height, placement.x : placement.x + placement.width]


def _placed(values: Pixels, placement: Placement) -> View:
    """Values in [0, 1] of any size where a placement puts them, in 8 bits; the rest of the square is 0."""
    # Pillow's filter grows with the reduction, so small views of large films are free of aliasing.
    resized = PILImage.fromarray(np.ascontiguousarray(values)).resize(
        (placement.width, placement.height), PILImage.Resampling.BILINEAR
    )
    square = np.zeros((placement.size, placement.size), np.uint8)
    _filled(square, placement)[:] = np.rint(np.clip(np.asarray(resized), 0, 1) * 255).astype(np.uint8)
    return square
