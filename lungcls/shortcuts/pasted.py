"""Check J: do objects on the lungs, or a mirror, change answers?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lungcls.evaluation.bootstrap import Estimate, exact_share
from lungcls.evaluation.weighted import share
from lungcls.regions import Mask, Pixels, known_box
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Row
from lungcls.shortcuts.harmonised import hidden_lungs
from lungcls.shortcuts.pictures import strip
from lungcls.shortcuts.sample import Trial, interval

_BRIGHT: Final = 0.95
_FINE: Final = 4  # objects are drawn at four times the size, for smooth edges

Draw: TypeAlias = Callable[[ImageDraw.ImageDraw, float, float, float, np.random.Generator], None]
"""Draws an object at (x, y) of a chest whose lungs are `unit` wide, all in pixels."""


def _lead(draw: ImageDraw.ImageDraw, x: float, y: float, unit: float, rng: np.random.Generator) -> None:
    """An electrode of an ECG and its wire, which leaves the chest below."""
    radius, width = 0.03 * unit, max(1, round(0.008 * unit))
    bend = x + rng.uniform(-0.3, 0.3) * unit
    draw.line([(x, y), (bend, y + 0.4 * unit), (bend, y + 2 * unit)], fill=255, width=width, joint="curve")
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)


def _tube(draw: ImageDraw.ImageDraw, x: float, y: float, unit: float, rng: np.random.Generator) -> None:
    """A chest drain: two walls that run to the side and down."""
    way = 1 if rng.random() < 0.5 else -1
    width, apart = max(1, round(0.006 * unit)), 0.03 * unit
    for offset in (0.0, apart):
        path = [(x, y + offset), (x + 0.2 * way * unit, y + 0.05 * unit + offset)]
        draw.line([*path, (x + 0.8 * way * unit, y + 0.5 * unit + offset)], fill=255, width=width)


def _arrow(draw: ImageDraw.ImageDraw, x: float, y: float, unit: float, rng: np.random.Generator) -> None:
    """An arrow as publications draw it, its tip at the place."""
    way, width = (1 if rng.random() < 0.5 else -1), max(1, round(0.02 * unit))
    draw.line([(x, y), (x + 0.15 * way * unit, y - 0.15 * unit)], fill=255, width=width)
    head = 0.06 * unit
    draw.polygon(
        [(x, y), (x + head * way * 1.4, y - 0.2 * head), (x + 0.2 * head * way, y - 1.4 * head)], fill=255
    )


def _letter(draw: ImageDraw.ImageDraw, x: float, y: float, unit: float, rng: np.random.Generator) -> None:
    """A letter L or R of lead."""
    font = ImageFont.load_default(max(8, round(0.12 * unit)))
    draw.text((x, y), "LR"[int(rng.integers(2))], fill=255, font=font, anchor="mm")


def _clip(draw: ImageDraw.ImageDraw, x: float, y: float, unit: float, rng: np.random.Generator) -> None:
    """Three surgical clips in a row."""
    width, length = max(1, round(0.012 * unit)), 0.04 * unit
    for place in range(3):
        top = y + 1.6 * place * length
        draw.line([(x, top), (x + length, top + 0.4 * length)], fill=255, width=width)


OBJECTS: Final[dict[str, Draw]] = {
    "ECG lead": _lead,
    "chest tube": _tube,
    "arrow": _arrow,
    "letter": _letter,
    "surgical clips": _clip,
}
"""Objects by name."""


def paste(pixels: Pixels, mask: Mask, draw: Draw, rng: np.random.Generator) -> Pixels:
    """Draw an object at a place within the lungs that is drawn by chance.

    Parameters
    ----------
    pixels : float32 array [H, W]
    mask : bool array [H, W]
        Not empty.
    draw : callable
        One of :data:`OBJECTS`.
    rng : numpy Generator

    Returns
    -------
    float32 array [H, W]
        Nearly white where the object is, and blended at its edge.
    """
    box = known_box(mask)
    height, width = pixels.shape
    inside = np.argwhere(mask)
    y, x = inside[int(rng.integers(len(inside)))]
    canvas = Image.new("L", (_FINE * width, _FINE * height))
    draw(ImageDraw.Draw(canvas), _FINE * (x + 0.5), _FINE * (y + 0.5), _FINE * (box[2] - box[0]), rng)
    small = canvas.resize((width, height), Image.Resampling.BOX)
    opacity = np.asarray(small, np.float32) / 255
    return np.asarray(np.maximum(pixels, pixels * (1 - opacity) + _BRIGHT * opacity), np.float32)


class PastedObjects(Check):
    """Paste objects into the lungs, or mirror the film, and count the answers that change.

    A row a change: the share of answers that change.
    """

    name = "pasted_objects"
    number = "J"
    title = "A lead, tube, arrow, letter or clips on the lungs, and the film mirrored"
    costly = True
    limit = rules.PASTED_CHANGED
    plot_title = "Share of answers that change"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return str(row["change"])

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        sample = trial.sample
        if len(sample) < rules.MIN_IMAGES:
            return self.untold(f"only {len(sample)} images; {rules.MIN_IMAGES} are needed")
        films = list(zip(sample.pixels, sample.masks))
        changes: dict[str, tuple[list[Pixels], list[Mask]]] = {}
        if not hidden_lungs(trial):
            for name, draw in OBJECTS.items():
                rng = np.random.default_rng(trial.seed)
                changes[name] = ([paste(p, m, draw, rng) for p, m in films], sample.masks)
        changes["mirrored"] = (
            [np.ascontiguousarray(p[:, ::-1]) for p in sample.pixels],
            [np.ascontiguousarray(m[:, ::-1]) for m in sample.masks],
        )
        clean = trial.probabilities.argmax(1)
        rows: list[dict[str, Any]] = []
        found: dict[str, Estimate] = {}
        for name, (pixels, masks) in changes.items():
            other = trial.answers(pixels, masks).argmax(1) != clean
            found[name] = exact_share(trial.estimate(share(other)), trial.resamples.n_groups)
            rows.append({"change": name, "figure": "changed", **interval(found[name], len(sample))})
        worst = max(found, key=lambda name: found[name].value)
        most = found[worst]
        because = (
            f"most answers change under {worst!r}: {most.value:.1%} ({most.low:.1%} to {most.high:.1%}); "
            f"limit {rules.PASTED_CHANGED:.0%}{rules.size_words(most, rules.PASTED_CHANGED, len(sample))}"
        )
        tiles = [pixels[0] for pixels, _ in changes.values()]
        pictures = [Picture(", ".join(changes), strip(tiles))]
        verdict = rules.all_at_most(list(found.values()), rules.PASTED_CHANGED)
        return self.finding(verdict, because, rows, pictures)
