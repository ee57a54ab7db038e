"""Pictures as data URLs, so that one answer holds all and nothing is kept on the server."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from lungcls.regions import Mask, Pixels, stretch


def grey(pixels: Pixels) -> PILImage.Image:
    """Return an image as the networks are shown it, in 8 bits."""
    return PILImage.fromarray(to_bytes(stretch(pixels)))


def black_white(mask: Mask) -> PILImage.Image:
    """Return a mask as 0 and 255."""
    return PILImage.fromarray(mask.astype(np.uint8) * np.uint8(255))


def to_bytes(values: Pixels) -> npt.NDArray[np.uint8]:
    """Round values in [0, 1] to 8 bits."""
    return np.rint(values * 255).astype(np.uint8)


def data_url(picture: PILImage.Image, max_side: int | None = None) -> str:
    """Encode a picture as a PNG in a data URL, made smaller where its longer side exceeds `max_side`."""
    if max_side is not None and max(picture.size) > max_side:
        scale = max_side / max(picture.size)
        size = tuple(max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((size[0], size[1]), PILImage.Resampling.LANCZOS, reducing_gap=3)
    buffer = io.BytesIO()
    # The fastest setting: on a film of several megapixels the default takes seconds and saves little.
    options: dict[str, Any] = {"compress_level": 1}
    picture.save(buffer, "PNG", **options)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
