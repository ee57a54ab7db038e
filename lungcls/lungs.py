"""What stands between the stages: one upright film and the lungs on it."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image as PILImage

from lungcls.errors import ImageError
from lungcls.images import read_image
from lungcls.labels import NOTICE
from lungcls.quality import Quality
from lungcls.regions import Box, Mask, Pixels, Region, View, lung_box, stretch, view, view_and_lungs
from lungcls.render.pictures import grey_picture

WHOLE = Region("full")
"""The region that stands in for any other where no two lungs were found."""

LUNG_COLOUR = np.array([0.25, 0.75, 1.0], np.float32)
TINT = 0.25
"""Colour of the lungs on a film, RGB in [0, 1], and how much of it lies within the outline."""


@dataclass(frozen=True, eq=False, repr=False)
class Lungs:
    """One film, upright, with the lungs that were found on it: what a finder makes and classifiers answer.

    Attributes
    ----------
    path : str
        Path of the film, or what it was, such as ``<array>``.
    mask : bool array [H, W]
        At the film's own size; all False where no lung was found or none was looked for.
    quality : Quality
        What was measured on the film and on the mask, and what is wrong with them.
    pixel_spacing : (row, column) or None
        In mm, where the file tells it.
    segmenter : str
        Name of the weights that drew the mask; ``own mask`` for one that was given, empty for none.
    pixel_aspect : float
        Height of a pixel over its width; 1 where it is square or not told.
    """

    path: str
    mask: Mask
    quality: Quality
    pixel_spacing: tuple[float, float] | None
    segmenter: str
    pixel_aspect: float = 1.0
    _pixels: Pixels | None = None
    # A path is read again when pixels are wanted, so that a long list of lungs stays small.
    _source: str | None = None
    _read_options: dict[str, Any] = field(default_factory=dict)
    _checksum: int | None = None  # of the pixels that were let go

    def __repr__(self) -> str:
        height, width = self.mask.shape
        reasons = ", ".join(reason.name for reason in self.quality.reasons) or "nothing wrong"
        return f"Lungs({self.path!r}, {width} x {height}, box={self.box}, {reasons})"

    @cached_property
    def box(self) -> Box | None:
        """Bounding box (x0, y0, x1, y1) of the mask in pixels, end exclusive; None where it is empty."""
        return lung_box(self.mask)

    @property
    def lung_mask(self) -> Mask:
        """Old name of `mask`."""
        warnings.warn("lung_mask is the old name of mask", DeprecationWarning, stacklevel=2)
        return self.mask

    def pixels(self) -> Pixels:
        """Return the film upright, float32 [H, W] in [0, 1]; a file is read again.

        Inverted grey levels are inverted back. What the stages do to every film, such as
        :func:`lungcls.regions.stretch`, is left out.

        Raises
        ------
        ImageError
            If the film was a file that is gone or has changed.
        """
        if self._pixels is not None:
            return self.quality.apply(self._pixels)
        pixels = read_image(str(self._source), **self._read_options).pixels
        if pixels.shape != self.mask.shape:
            raise ImageError(
                f"{self._source}: found {pixels.shape[0]} x {pixels.shape[1]} pixels, expected the "
                f"{self.mask.shape[0]} x {self.mask.shape[1]} of the lung mask: the file has changed; "
                "predict it again"
            )
        if self._checksum is not None and _checksum(pixels) != self._checksum:
            raise ImageError(
                f"{self._source}: found other pixels than those that the lungs were found on: the file has "
                "changed; predict it again"
            )
        return self.quality.apply(pixels)

    def region(self, wanted: Region) -> Region:
        """Return what a classifier sees: the wanted region, or the whole film for want of two lungs."""
        return wanted if not wanted.needs_mask or self.quality.both_lungs else WHOLE

    def view(self, wanted: Region, size: int, tone: str = "range") -> View:
        """Return what a classifier sees: the one road from a film to a network.

        Parameters
        ----------
        wanted : Region
            The whole film stands in where it needs a mask and no two lungs were found (:meth:`region`).
        size : int
            Side of the view, in pixels.
        tone : str, default="range"
            What is done to the grey levels first (:mod:`lungcls.tone`), as the network's card says.

        Returns
        -------
        uint8 array [size, size]

        Raises
        ------
        ImageError
            As :meth:`pixels`.
        """
        return view(self.pixels(), self.mask, self.region(wanted), size, self.pixel_aspect, tone)

    def view_with_lungs(self, wanted: Region, size: int, tone: str = "range") -> tuple[View, View]:
        """Return a region's view with nothing blackened, and the lungs beside it, for training.

        Parameters
        ----------
        wanted, size, tone
            As :meth:`view` takes them.

        Returns
        -------
        view, lungs : uint8 arrays [size, size]
            As :func:`lungcls.regions.view_and_lungs` gives them; all of a film that stands in for want of two
            lungs counts as lung.
        """
        if not self.quality.both_lungs:
            return self.view(WHOLE, size, tone), np.full((size, size), 255, np.uint8)
        return view_and_lungs(self.pixels(), self.mask, wanted, size, self.pixel_aspect, tone)

    def without_pixels(self) -> Lungs:
        """Return the same lungs without the film's pixels in memory, where these can be read again."""
        if self._source is None or self._pixels is None:
            return self
        return replace(self, _pixels=None, _checksum=_checksum(self._pixels))

    def overlay(self) -> PILImage.Image:
        """Draw the lungs over the film.

        Returns
        -------
        PIL.Image.Image
            RGB, of the film's own size: lungs tinted and outlined. A film that fills little of its range of
            grey levels is spread over it, as it is for the networks (:func:`lungcls.regions.stretch`).

        Raises
        ------
        ImageError
            As :meth:`pixels`.
        """
        picture = np.repeat(stretch(self.pixels())[..., None], 3, axis=2)
        mask = self.mask
        picture[mask] = (1 - TINT) * picture[mask] + TINT * LUNG_COLOUR
        outline = mask & _grown(~mask)
        # A line of one pixel is lost in a large film.
        for _ in range(max(mask.shape) // 1000):
            outline = _grown(outline)
        picture[outline] = LUNG_COLOUR
        return grey_picture(picture)

    def _repr_html_(self) -> str:
        from lungcls.notebook import lungs_html

        return lungs_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the arrays as JSON-safe values."""
        height, width = self.mask.shape
        return {
            "path": self.path,
            "height": height,
            "width": width,
            "pixel_spacing": list(self.pixel_spacing) if self.pixel_spacing else None,
            "box": list(self.box) if self.box else None,
            "quality": self.quality.to_dict(),
            "segmenter": self.segmenter,
            "notice": NOTICE,
        }


def _checksum(pixels: Pixels) -> int:
    """Tell films of one size apart, in a hundredth of the time that a prediction takes."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def _grown(mask: Mask) -> Mask:
    """A mask and the pixels that share an edge with it."""
    grown: Mask = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown
