"""What stage 2 is shown: an image and its lung mask become one network view.

A region is cut at the image's own size (:func:`cut`), then fitted into the network's square without
stretching (:func:`letterbox`). :class:`lungcls.lungs.Lungs` is the only caller of :func:`view`, so that an
image gives the same pixels on every road.

A region of one's own, in three lines::

    from lungcls.regions import RegionKind, register_region

    register_region(RegionKind("gap", "all between the lungs", lambda p, m, b: p * ~m, "around", crops=True))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from lungcls.errors import OptionError
from lungcls.tone import apply as tone_of
from lungcls.tone import stretch as stretch  # the tone of views whose card names none

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Pixels = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
View = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class RegionKind:
    """All that the library knows of a region: recipes, command line, page, cards and graphs read it here.

    Parameters
    ----------
    name : str
        As recipes and the command line name it.
    words : str
        What a classifier of this region sees, to finish the sentence "it sees ...".
    cut : callable
        ``cut(pixels, mask, box)`` keeps a part of the pixels and blackens the rest, element by element, with
        operators alone (``*``, ``+``, ``~``): it is called with numpy arrays and, in exported graphs, with
        torch tensors. `pixels` are floats [H, W] in [0, 1]; `mask` and `box` are bool [H, W], True within
        the lungs and within the lungs' box.
    shows : {"both", "lungs", "around", "outline"}
        Whether the lungs are in sight, what is around them, both, or the mask's outline alone.
    crops : bool, default=False
        Whether the view is cropped to the lungs' box.
    needs_mask : bool, default=True
        Whether a lung mask is needed at all.
    """

    name: str
    words: str
    cut: Callable[[Any, Any, Any], Any] = field(repr=False)
    shows: Literal["both", "lungs", "around", "outline"]
    crops: bool = False
    needs_mask: bool = True


_KINDS: Final[dict[str, RegionKind]] = {}

REGIONS: Final[Mapping[str, RegionKind]] = MappingProxyType(_KINDS)
"""The regions by name, those of :func:`register_region` included. ``full`` (whole image), ``crop`` (lung
box), ``mask`` (lungs only, cropped to their box), ``mask_uncropped`` (lungs only, in place), and the controls
``background`` (lungs removed), ``background_box`` (the lungs' box removed, so that no outline is left) and
``silhouette`` (the mask alone)."""


def register_region(kind: RegionKind) -> None:
    """Make a region known by its name.

    Parameters
    ----------
    kind : RegionKind

    Raises
    ------
    OptionError
        If there is another region of this name.
    """
    if kind.name in _KINDS and _KINDS[kind.name] != kind:
        raise OptionError(f"there is another region {kind.name!r}; give yours a name of its own")
    _KINDS[kind.name] = kind


for _kind in (
    RegionKind("full", "the whole image", lambda p, m, b: p, "both", needs_mask=False),
    RegionKind("crop", "the box around the lungs", lambda p, m, b: p, "both", crops=True),
    RegionKind("mask", "the lungs alone, cropped to their box", lambda p, m, b: p * m, "lungs", crops=True),
    RegionKind("mask_uncropped", "the lungs alone, in their place", lambda p, m, b: p * m, "lungs"),
    RegionKind("background", "all but the lungs", lambda p, m, b: p * ~m, "around"),
    RegionKind("background_box", "all but the lungs' box", lambda p, m, b: p * ~b, "around"),
    RegionKind("silhouette", "the outline of the lungs alone", lambda p, m, b: p * 0 + m, "outline"),
):
    register_region(_kind)


@dataclass(frozen=True, slots=True)
class Region:
    """Which part of an image a classifier sees.

    Parameters
    ----------
    name : str
        One of :data:`REGIONS`.
    margin : float, default=0.05
        Widens the lung box on each side, as a fraction of the box's longer side. Used by the regions whose
        kind crops or speaks of the box.
    dilate : float, default=0.0
        Widens the lung mask by this fraction of the image's width before anything else. Both are lengths on
        the film: where pixels are oblong they are other numbers of rows than of columns.

    Raises
    ------
    OptionError
        If the name is not known, or a number is not in [0, 1].
    """

    name: str = "mask"
    margin: float = 0.05
    dilate: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in REGIONS:
            raise OptionError(f"unknown region {self.name!r}; the regions are {', '.join(REGIONS)}")
        for fraction in ("margin", "dilate"):
            value = getattr(self, fraction)
            if not 0 <= value <= 1:
                raise OptionError(f"region {fraction} is {value}; expected a fraction in [0, 1]")

    @property
    def kind(self) -> RegionKind:
        """What the library knows of a region of this name."""
        return REGIONS[self.name]

    @property
    def needs_mask(self) -> bool:
        """Whether the region depends on the lung mask (all but ``full``)."""
        return self.kind.needs_mask

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


def lung_box(mask: Mask, margin: float = 0.0, aspect: float = 1.0) -> Box | None:
    """Return the bounding box of a mask, clipped to the image.

    Parameters
    ----------
    mask : bool array [H, W]
    margin : float, default=0.0
        Added on each side, as a fraction of the box's longer side.
    aspect : float, default=1
        Height of a pixel over its width.

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
    extra = margin * max(x1 - x0, (y1 - y0) * aspect)
    across, down = round(extra), round(extra / aspect)
    height, width = mask.shape
    return max(0, x0 - across), max(0, y0 - down), min(width, x1 + across), min(height, y1 + down)


def known_box(mask: Mask) -> Box:
    """Return the bounding box of a mask that is not empty, as :func:`lung_box`.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    box = lung_box(mask)
    if box is None:
        raise ValueError("the lung mask is empty")
    return box


def dilate_mask(mask: Mask, fraction: float, aspect: float = 1.0) -> Mask:
    """Widen a mask by `fraction` of the image's width, with a structuring element that is round on the film.

    `aspect` is the height of a pixel over its width.
    """
    radius = fraction * mask.shape[1]
    box = lung_box(mask)
    reach, reach_down = int(radius), int(radius / aspect)
    if max(reach, reach_down) < 1 or box is None:
        return mask
    # Rows widened step by step, then laid over each other: a fraction of what a distance transform costs.
    x0, y0, x1, y1 = box
    height, width = mask.shape
    x0, x1 = max(0, x0 - reach), min(width, x1 + reach)
    y0, y1 = max(0, y0 - reach_down), min(height, y1 + reach_down)
    inner = mask[y0:y1, x0:x1]
    wide = inner.copy()
    result = np.zeros_like(mask)
    target = result[y0:y1, x0:x1]
    across = 0
    steps = np.arange(reach + 1)
    for down in range(reach_down, -1, -1):
        while across < np.count_nonzero(np.sqrt(steps**2 + (down * aspect) ** 2) <= radius) - 1:
            across += 1
            wide[:, across:] |= inner[:, :-across]
            wide[:, :-across] |= inner[:, across:]
        if down < len(wide):
            target[down:] |= wide[: len(wide) - down]
            target[: len(wide) - down] |= wide[down:]
    return result


def cut(pixels: Pixels, mask: Mask | None, region: Region, aspect: float = 1.0) -> Pixels:
    """Cut a region out of an image.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    mask : bool array [H, W] or None
        The lung mask; may be None for the region ``full`` only.
    region : Region
    aspect : float, default=1
        Height of a pixel over its width.

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
    mask, box = _widened(pixels.shape, mask, region, aspect)
    planes = (_cropped(plane, box, region) for plane in (pixels, mask, _inside(box, mask.shape)))
    result: Pixels = region.kind.cut(*planes)
    return result


def seen_box(shape: tuple[int, int], mask: Mask | None, region: Region, aspect: float = 1.0) -> Box:
    """Return which part of an image :func:`cut` keeps, so that what is found in a view can be put back.

    Parameters
    ----------
    shape : (height, width)
        Of the image.
    mask : bool array [H, W] or None
        The lung mask; may be None for the region ``full`` only.
    region : Region
    aspect : float, default=1
        Height of a pixel over its width.

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
    _, box = _widened(shape, mask, region, aspect)
    return box if region.kind.crops else whole


def _widened(shape: tuple[int, ...], mask: Mask | None, region: Region, aspect: float) -> tuple[Mask, Box]:
    """The mask and the lung box as a region widens them."""
    if mask is None or mask.shape != shape:
        what = "no mask" if mask is None else f"a mask of shape {mask.shape}"
        raise ValueError(f"region {region.name!r} needs a lung mask of shape {shape}; got {what}")
    mask = dilate_mask(mask, region.dilate, aspect)
    box = lung_box(mask, region.margin, aspect)
    if box is None:
        raise ValueError(f"region {region.name!r} cannot be cut out: the lung mask is empty")
    return mask, box


def _inside(box: Box, shape: tuple[int, ...]) -> Mask:
    inside = np.zeros(shape, np.bool_)
    inside[box[1] : box[3], box[0] : box[2]] = True
    return inside


def _cropped(pixels: npt.NDArray[Any], box: Box, region: Region) -> npt.NDArray[Any]:
    return pixels[box[1] : box[3], box[0] : box[2]] if region.kind.crops else pixels


def place(shape: tuple[int, ...], size: int, aspect: float = 1.0) -> Placement:
    """Return where an image of `shape` (height, width) goes in a square of side `size`.

    It is centred and not stretched. `aspect` is the height of a pixel over its width, so that what the
    scanner stored with unequal spacing comes out as it is.
    """
    height, width = shape[0] * aspect, shape[1]
    scale = size / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    return Placement(size, (size - new_width) // 2, (size - new_height) // 2, new_width, new_height)


def letterbox(pixels: Pixels, size: int, aspect: float = 1.0) -> tuple[View, Placement]:
    """Fit an image into a square without stretching it, black bars around it.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    size : int
        Side of the square, in pixels.
    aspect : float, default=1
        Height of a pixel over its width.

    Returns
    -------
    view : uint8 array [size, size]
        Rounded to 8 bits, so that what training keeps in memory is what prediction computes.
    placement : Placement
        For :func:`unletterbox`.
    """
    placement = place(pixels.shape, size, aspect)
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


def shrunk(pixels: Pixels, mask: Mask, largest: int) -> tuple[Pixels, Mask]:
    """Return a film [H, W] and its mask at no more than `largest` pixels a side, by means of boxes."""
    height, width = pixels.shape
    scale = largest / max(height, width)
    if scale >= 1:
        return pixels, mask
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = PILImage.fromarray(np.ascontiguousarray(pixels)).resize(size, PILImage.Resampling.BOX)
    return np.asarray(picture), resize_mask(mask, size[::-1])


def whole_view(pixels: Pixels, size: int, aspect: float = 1.0, tone: str = "range") -> tuple[View, Placement]:
    """Fit a whole image into the network's square: the one road to stage 1.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    size : int
    aspect : float, default=1
        Height of a pixel over its width.
    tone : str, default="range"
        What is done to the grey levels first (:mod:`lungcls.tone`), as the network's card says.

    Returns
    -------
    view : uint8 array [size, size]
    placement : Placement
        For :func:`unletterbox`, :func:`letterbox_mask` and :func:`letterbox_share`.
    """
    return letterbox(tone_of(pixels, tone), size, aspect)


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


def view(
    pixels: Pixels,
    mask: Mask | None,
    region: Region,
    size: int,
    aspect: float = 1.0,
    tone: str = "range",
) -> View:
    """Cut a region and fit it into the network's square: the one road to stage 2.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    mask : bool array [H, W] or None
    region : Region
    size : int
    aspect : float, default=1
        Height of a pixel over its width.
    tone : str, default="range"
        What is done to the grey levels first (:mod:`lungcls.tone`), as the network's card says.

    Returns
    -------
    uint8 array [size, size]

    Raises
    ------
    ValueError
        As :func:`cut`.
    """
    return letterbox(cut(tone_of(pixels, tone), mask, region, aspect), size, aspect)[0]


def view_and_lungs(
    pixels: Pixels, mask: Mask, region: Region, size: int, aspect: float = 1.0, tone: str = "range"
) -> tuple[View, View]:
    """Return a region's view before anything in it is blackened, and the lungs beside it.

    Training uses it to draw another outline or other surroundings for the lungs at each epoch.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    mask : bool array [H, W]
    region : Region
        Its box and the widening of its mask are used; that of ``full`` is the whole image.
    size : int
    aspect : float, default=1
        Height of a pixel over its width.
    tone : str, default="range"
        What is done to the grey levels first (:mod:`lungcls.tone`), as the network's card says.

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
    widened, box = _widened(pixels.shape, mask, region, aspect)
    seen, lungs = (
        _cropped(plane, box, region) for plane in (tone_of(pixels, tone), widened.astype(np.float32))
    )
    return letterbox(seen, size, aspect)[0], letterbox(lungs, size, aspect)[0]


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
