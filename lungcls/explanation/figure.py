"""Figures of an explanation, drawn with Pillow: legible whatever the size of the film."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from lungcls.errors import OptionError
from lungcls.labels import NOTICE
from lungcls.prediction import Prediction
from lungcls.regions import Mask, Pixels, stretch
from lungcls.render.pictures import grey_picture

_PANEL, _GAP, _LINE = 440, 12, 22
_HEAT = 0.7
_TEXT, _FAINT, _PAPER, _OUTLINE = (20, 20, 20), (90, 90, 90), (255, 255, 255), (64, 191, 255)


class Explained(Protocol):
    """What a figure shows of an :class:`lungcls.explanation.Explanation`, which draws itself with it."""

    @property
    def prediction(self) -> Prediction: ...
    @property
    def classifier(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def shares(self) -> dict[str, float]: ...
    @property
    def cam(self) -> Pixels: ...
    @property
    def empty(self) -> bool: ...


def heat(pixels: Pixels, cam: Pixels) -> Image.Image:
    """Draw a map over an image.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    cam : float32 array [H, W] in [0, 1]

    Returns
    -------
    PIL.Image.Image
        RGB [H, W]: the image where the map is 0, more and brighter colour the higher it is.
    """
    colours = (_colours()[:, :3] * 255).astype(np.float32)[(cam * 255).astype(np.uint8)]
    strength = (_HEAT * cam)[..., None]
    mixed = (1 - strength) * (pixels * 255)[..., None] + strength * colours
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def draw_figure(explanation: Explained, panels: int) -> Image.Image:
    """Draw the figure; see :meth:`lungcls.explanation.Explanation.figure`."""
    if panels not in (2, 4):
        raise OptionError(f"panels is {panels!r}; expected 2 or 4")
    prediction = explanation.prediction
    pixels = stretch(prediction.pixels())
    image = grey_picture(pixels).convert("RGB")
    tiles = [("image", image)]
    if panels == 4:
        tiles.append(("lungs", prediction.overlay()))
        tiles.append(("what the network saw", Image.fromarray(prediction.view).convert("RGB")))
    cam = _outlined(heat(pixels, explanation.cam), prediction.lungs.mask)
    tiles.append((f"{explanation.method} for {explanation.target}, lungs outlined", cam))
    columns = 2
    rows = len(tiles) // columns
    heading, footing = _heading(explanation), _footing(explanation)
    width = columns * _PANEL + (columns + 1) * _GAP
    lines = _wrapped(footing, width - 2 * _GAP)
    height = (
        (_LINE + 6) + len(heading) * _LINE + rows * (_PANEL + _LINE + _GAP) + len(lines) * _LINE + 2 * _GAP
    )
    page = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    top = _GAP
    for number, line in enumerate(heading):
        draw.text(
            (_GAP, top),
            _fitted(line, width - 2 * _GAP, 20 if not number else 15),
            _TEXT,
            _font(20 if not number else 15),
        )
        top += _LINE + (6 if not number else 0)
    for number, (title, picture) in enumerate(tiles):
        left = _GAP + number % columns * (_PANEL + _GAP)
        above = top + number // columns * (_PANEL + _LINE + _GAP)
        draw.text((left, above), _fitted(title, _PANEL, 15), _FAINT, _font(15))
        page.paste(_panel(picture), (left, above + _LINE))
    _colour_bar(page, width - _GAP - 130, top + (rows - 1) * (_PANEL + _LINE + _GAP) + 3)
    top += rows * (_PANEL + _LINE + _GAP)
    for line in lines:
        draw.text((_GAP, top), line, _FAINT, _font(15))
        top += _LINE
    return page


def _heading(explanation: Explained) -> list[str]:
    prediction = explanation.prediction
    best = max(prediction.probabilities, key=lambda name: prediction.probabilities[name])
    answer = f"{best} {prediction.probabilities[best]:.0%}"
    if prediction.label is None:
        answer = f"no answer (label withheld; nearest class {answer})"
    if explanation.target != best:
        answer += f", map for {explanation.target} {prediction.probabilities[explanation.target]:.0%}"
    seen = "whole image, for want of two lungs" if prediction.fallback else f"region {prediction.region}"
    return [answer, f"{explanation.classifier}, {seen}; {os.path.basename(prediction.path)}"]


def _footing(explanation: Explained) -> list[str]:
    shares = explanation.shares

    def told(name: str) -> str:
        return f"{shares[name]:.0%} (even map {shares[f'{name}_chance']:.0%})"

    if explanation.empty:
        lines = [f"The map is empty: nothing that the network saw speaks for {explanation.target}."]
    elif not math.isnan(shares["lungs"]) and explanation.prediction.lungs.mask.any():
        lines = [
            f"Of the map, {told('lungs')} lies inside the lungs; a map of this resolution can have at most "
            f"{shares['lungs_ceiling']:.0%}. Left of the image {told('image_left')}, right of the image "
            f"{told('image_right')} (the patient's left, in the usual display). Upper third of the lungs "
            f"{told('upper')}, middle {told('middle')}, lower {told('lower')}."
        ]
    else:
        lines = ["No lungs were found, so no share of the map lies inside them."]
    reasons = [reason.message for reason in explanation.prediction.quality.reasons]
    if reasons:
        lines.append(f"Quality: {'; '.join(reasons)}.")
    return [*lines, NOTICE]


def _outlined(picture: Image.Image, mask: Mask) -> Image.Image:
    """Draw the lungs' outline, as wide as it must be to show in a panel."""
    values = np.asarray(picture).copy()
    width = max(1, round(max(mask.shape) / _PANEL))
    inner = ndimage.binary_erosion(mask, iterations=width, border_value=1) if mask.any() else mask
    values[mask & ~inner] = _OUTLINE
    return Image.fromarray(values)


def _panel(picture: Image.Image) -> Image.Image:
    """Fit a picture into the panel's square, black bars around it."""
    scale = _PANEL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    square = Image.new("RGB", (_PANEL, _PANEL))
    resized = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    square.paste(resized, ((_PANEL - size[0]) // 2, (_PANEL - size[1]) // 2))
    return square


def _colour_bar(page: Image.Image, left: int, top: int) -> None:
    """Draw the colours from 0 to the map's highest value."""
    draw = ImageDraw.Draw(page)
    bar = np.repeat((_colours()[:, :3] * 255).astype(np.uint8)[None, ::3], 12, axis=0)
    draw.text((left, top - 3), "0", _FAINT, _font(15))
    page.paste(Image.fromarray(np.ascontiguousarray(bar)), (left + 14, top + 1))
    draw.text((left + 18 + bar.shape[1], top - 3), "max", _FAINT, _font(15))


@lru_cache(maxsize=1)
def _colours() -> npt.NDArray[np.float64]:
    """256 colours from violet over red to yellow, float [256, 4] in [0, 1]."""
    from matplotlib import colormaps

    table: npt.NDArray[np.float64] = np.asarray(colormaps["plasma"](np.linspace(0, 1, 256)))
    return table


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _fitted(text: str, width: int, size: int) -> str:
    """Cut the middle out of a text that is too long for its line."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    keep = len(text)
    while keep > 2 and font.getlength(f"{text[: keep // 2]}…{text[-(keep // 2) :]}") > width:
        keep -= 2
    return f"{text[: keep // 2]}…{text[-(keep // 2) :]}"


def _wrapped(paragraphs: list[str], width: int) -> list[str]:
    font, lines = _font(15), []
    for paragraph in paragraphs:
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines
