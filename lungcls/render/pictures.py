"""Films and masks as pictures of 8 bits, and pictures as URLs and HTML."""

from __future__ import annotations

import io
from collections.abc import Iterable
from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from lungcls.labels import NOTICE
from lungcls.render.drawing import png_url

_SIDE: Final = 320


def grey_picture(pixels: npt.NDArray[np.floating]) -> PILImage.Image:
    """Return values [H, W] in [0, 1], or [H, W, 3], as a picture; they are rounded."""
    return PILImage.fromarray(np.rint(pixels * 255).astype(np.uint8))


def mask_picture(mask: npt.NDArray[np.bool_]) -> PILImage.Image:
    """Return a bool mask [H, W] as 0 and 255."""
    return PILImage.fromarray(mask.astype(np.uint8) * np.uint8(255))


def picture_url(picture: PILImage.Image, max_side: int | None = None) -> str:
    """Return a picture as a URL that holds it, made smaller where its longer side exceeds `max_side`."""
    if max_side is not None and max(picture.size) > max_side:
        scale = max_side / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), PILImage.Resampling.LANCZOS, reducing_gap=3)
    buffer = io.BytesIO()
    # The fastest setting: on a film of several megapixels the default takes seconds and saves little.
    picture.save(buffer, "PNG", compress_level=1)
    return png_url(buffer)


def picture_html(
    picture: PILImage.Image,
    title: str,
    body: str = "",
    *,
    alt: str,
    notes: Iterable[str] = (),
) -> str:
    """Return a picture, at most 320 pixels wide or high, with words beside it as HTML.

    Parameters
    ----------
    picture : PIL.Image.Image
    title : str
    body : str, optional
        HTML below the title.
    alt : str
        What the picture shows.
    notes : iterable of str, optional
        Points of a list.
    """
    points = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        '<div style="display:flex;gap:1em;flex-wrap:wrap;align-items:flex-start">'
        f'<img alt="{escape(alt)}" src="{picture_url(picture, _SIDE)}">'
        f'<div style="max-width:36em"><p><b>{escape(title)}</b></p>{body}<ul>{points}</ul>'
        f"<p><small>{escape(NOTICE)}</small></p></div></div>"
    )
