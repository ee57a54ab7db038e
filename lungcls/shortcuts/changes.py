"""Small changes of an image that leave the disease as it is."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from lungcls.regions import Mask, Pixels

Change: TypeAlias = Callable[[Pixels, Mask, np.random.Generator], tuple[Pixels, Mask]]


def _same_mask(function: Callable[[Pixels, np.random.Generator], Pixels]) -> Change:
    def change(pixels: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
        changed: Pixels = np.clip(function(pixels, rng), 0, 1).astype(np.float32)
        return changed, mask

    return change


def _jpeg(quality: int) -> Change:
    def recompress(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        buffer = io.BytesIO()
        Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
        decoded: Pixels = np.asarray(Image.open(buffer), dtype=np.float32)
        decoded = np.divide(decoded, 255)
        return decoded

    return _same_mask(recompress)


def _blur(share: float) -> Change:
    return _same_mask(lambda pixels, rng: ndimage.gaussian_filter(pixels, share * min(pixels.shape)))


def _noise(deviation: float) -> Change:
    return _same_mask(lambda pixels, rng: pixels + rng.normal(0, deviation, pixels.shape).astype(np.float32))


def _gamma(exponent: float) -> Change:
    return _same_mask(lambda pixels, rng: np.power(pixels, np.float32(exponent)))


def _contrast(factor: float) -> Change:
    return _same_mask(lambda pixels, rng: (pixels - pixels.mean()) * factor + pixels.mean())


def _rescale(factor: float) -> Change:
    def rescale(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        height, width = pixels.shape
        small = max(1, round(width * factor)), max(1, round(height * factor))
        picture = Image.fromarray(pixels).resize(small, Image.Resampling.BILINEAR)
        return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))

    return _same_mask(rescale)


def _rotate(degrees: float) -> Change:
    def rotate(pixels: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
        angle = degrees * (1 if rng.random() < 0.5 else -1)
        turned = ndimage.rotate(pixels, angle, reshape=False, order=1, mode="constant")
        lungs = ndimage.rotate(mask.astype(np.float32), angle, reshape=False, order=1, mode="constant") > 0.5
        return np.clip(turned, 0, 1).astype(np.float32), np.asarray(lungs)

    return rotate


def _shift(share: float) -> Change:
    def shift(pixels: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
        angle = rng.uniform(0, 2 * np.pi)
        way = np.rint(share * np.asarray(pixels.shape) * [np.sin(angle), np.cos(angle)])
        moved = ndimage.shift(pixels, way, order=0, mode="constant")
        return moved, np.asarray(ndimage.shift(mask, way, order=0, mode="constant"))

    return shift


def _letters(words: tuple[str, ...], size: float) -> Change:
    """Bright letters in a corner that is drawn by chance."""

    def write(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        height, width = pixels.shape
        picture = Image.fromarray(pixels)
        draw = ImageDraw.Draw(picture)
        font = ImageFont.load_default(max(8, round(size * min(height, width))))
        word = words[int(rng.integers(len(words)))]
        left, top, right, bottom = draw.textbbox((0, 0), word, font=font)
        margin = max(1, round(0.02 * min(height, width)))
        x = margin - left if rng.random() < 0.5 else width - margin - right
        y = margin - top if rng.random() < 0.5 else height - margin - bottom
        draw.text((x, y), word, fill=0.98, font=font)
        return np.asarray(picture)

    return _same_mask(write)


CHANGES: Final[dict[str, Change]] = {
    "JPEG quality 50": _jpeg(50),
    "JPEG quality 30": _jpeg(30),
    "blur, 0.4% of the side": _blur(0.004),
    "blur, 0.8% of the side": _blur(0.008),
    "noise, sd 0.02": _noise(0.02),
    "noise, sd 0.05": _noise(0.05),
    "gamma 0.8": _gamma(0.8),
    "gamma 1.25": _gamma(1.25),
    "contrast x 0.8": _contrast(0.8),
    "contrast x 1.2": _contrast(1.2),
    "rescaled to half and back": _rescale(0.5),
    "rotated by 5 degrees": _rotate(5),
    "rotated by 10 degrees": _rotate(10),
    "rotated by 15 degrees": _rotate(15),
    "shifted by 4%": _shift(0.04),
    "a letter L or R in a corner": _letters(("L", "R"), 0.09),
    "text in a corner": _letters(("PORTABLE", "AP ERECT", "14:32", "SUPINE"), 0.06),
}
"""Changes by name. The mask goes along with rotations and shifts, and stays as it was found else."""

LOSSY: Final = (
    "JPEG quality 50",
    "JPEG quality 30",
    "blur, 0.4% of the side",
    "blur, 0.8% of the side",
    "noise, sd 0.02",
    "noise, sd 0.05",
    "rescaled to half and back",
)
"""Changes that destroy details. All but these leave what can be read from the lungs as it is."""
