"""What the pipeline answers, in plain types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image as PILImage
from skimage import segmentation

from lungcls.errors import ImageError, LungclsError
from lungcls.images import read_image
from lungcls.labels import NOTICE
from lungcls.quality import Quality
from lungcls.regions import Box, Mask, Pixels, View

_LUNG_COLOUR = np.array([0.25, 0.75, 1.0], np.float32)
_TINT = 0.25


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be read or was refused.

    Attributes
    ----------
    path : str
        Name of the input.
    error : LungclsError
    """

    path: str
    error: LungclsError

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-safe values."""
        return {"path": self.path, "error": str(self.error)}


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The lungs of one image.

    Attributes
    ----------
    path : str
        Path of the image, or what it was, such as ``<array>``.
    lung_mask : bool array [H, W]
        At the image's own size.
    box : (x0, y0, x1, y1) or None
        Bounding box of the mask in original pixels, end exclusive; None where the mask is empty.
    quality : Quality
        What was measured on the mask, and what is wrong with it.
    pixel_spacing : (row, column) or None
        In mm, where the file tells it.
    segmenter : str
        Name of the weights.
    """

    path: str
    lung_mask: Mask
    box: Box | None
    quality: Quality
    pixel_spacing: tuple[float, float] | None
    segmenter: str
    # A path is read again when a picture is wanted, so that a long list of predictions stays small.
    _origin: str | Pixels = field(repr=False)
    _options: dict[str, Any] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the arrays as JSON-safe values."""
        height, width = self.lung_mask.shape
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

    def overlay(self) -> PILImage.Image:
        """Draw the lungs over the image.

        Returns
        -------
        PIL.Image.Image
            RGB, of the image's own size: lungs tinted and outlined.

        Raises
        ------
        ImageError
            If the image was a file that is gone or has changed.
        """
        pixels = self._pixels()
        picture = np.repeat(pixels[..., None], 3, axis=2)
        mask = self.lung_mask
        picture[mask] = (1 - _TINT) * picture[mask] + _TINT * _LUNG_COLOUR
        outline = segmentation.find_boundaries(mask, mode="inner")
        # A line of one pixel is lost in a large film.
        for _ in range(max(mask.shape) // 1000):
            outline = segmentation.find_boundaries(outline, mode="outer") | outline
        picture[outline] = _LUNG_COLOUR
        return PILImage.fromarray(np.rint(picture * 255).astype(np.uint8))

    def _pixels(self) -> Pixels:
        if isinstance(self._origin, str):
            pixels = read_image(self._origin, **self._options).pixels
            if pixels.shape != self.lung_mask.shape:
                raise ImageError(
                    f"{self._origin}: found {pixels.shape[0]} x {pixels.shape[1]} pixels, expected the "
                    f"{self.lung_mask.shape[0]} x {self.lung_mask.shape[1]} of the lung mask: the file has "
                    "changed; predict it again"
                )
            return pixels
        return self._origin


@dataclass(frozen=True, eq=False)
class Prediction(Segmentation):
    """The lungs of one image and the class that they look like.

    Attributes
    ----------
    label : str
        The most probable class.
    probabilities : dict of str to float
        Calibrated, in the order of the weights' classes; they sum to 1.
    region : str
        The region that the classifier saw: the one asked for, or ``full`` where the mask was bad and the
        caller let the whole image stand in (`fallback`).
    fallback : bool
        Whether the whole image stood in for the region.
    view : uint8 array [S, S]
        What the classifier saw.
    classifier : str
        Name of the weights.
    """

    label: str
    probabilities: dict[str, float]
    region: str
    fallback: bool
    view: View = field(repr=False)
    classifier: str

    def to_dict(self) -> dict[str, Any]:
        """Return all but the arrays as JSON-safe values."""
        common = super().to_dict()
        return {
            "path": common.pop("path"),
            "label": self.label,
            "probabilities": dict(self.probabilities),
            "region": self.region,
            "fallback": self.fallback,
            "classifier": self.classifier,
            **common,
        }
