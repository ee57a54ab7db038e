"""Pictures that are no chest X-rays, drawn by chance: what the quality gate learns to refuse.

No collection of photographs travels with the package, and none could stand for all that is not an X-ray. What
stands in for it are many unlike kinds of drawings whose statistics are those of photographs, textures, pages,
screens and other examinations; the more kinds, the better what was learnt holds for pictures of no kind here.

References
----------
Baradad, Wulff, Wang, Isola, Torralba: Learning to See by Looking at Noise, 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

Grey = NDArray[np.float32]
Rng = np.random.Generator
_WORDS: Final = np.array(
    ["the", "lung", "of", "and", "patient", "in", "a", "to", "report", "chest", "with", "is", "for", "normal",
     "figure", "table", "results", "we", "that", "are", "ray", "Name", "Date", "2020", "mg", "14:05", "Dr.",
     "view", "file", "edit", "window", "help", "image", "OK", "cancel", "total", "3.5", "COVID", "study",
     "data", "model"]
)  # fmt: skip


def stranger(rng: Rng, size: int) -> NDArray[np.uint8]:
    """Draw one picture that is no X-ray of a chest.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side, in pixels.

    Returns
    -------
    uint8 array [size, size]
    """
    picture = _KINDS[int(rng.integers(len(_KINDS)))](rng, size)
    if rng.random() < 0.2:
        # Much that is refused is as symmetric as a chest: faces, fronts of houses, heads.
        picture = np.concatenate([picture[:, : size // 2], picture[:, : size - size // 2][:, ::-1]], axis=1)
    if rng.random() < 0.25:
        picture = 0.7 * picture + 0.3 * _KINDS[int(rng.integers(len(_KINDS)))](rng, size)
    return _bytes(picture)


def ct_slice(rng: Rng, size: int) -> NDArray[np.uint8]:
    """Draw something like an axial CT slice of a chest, in a lung or a soft-tissue window.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side, in pixels.

    Returns
    -------
    uint8 array [size, size]
    """
    y, x = _grid(size)
    x, y = x - rng.uniform(-0.1, 0.1), y - rng.uniform(-0.1, 0.1)
    wide, high = rng.uniform(0.6, 0.98), rng.uniform(0.45, 0.75)
    warp = 0.04 * (_fractal(rng, size, 2.2) - 0.5)
    body = (x / wide) ** 2 + (y / high) ** 2 + warp < 1
    wall = (x / (wide - rng.uniform(0.08, 0.2))) ** 2 + (y / (high - rng.uniform(0.08, 0.18))) ** 2 + warp < 1
    air, tissue, fat = (
        (0.0, rng.uniform(0.45, 0.7), rng.uniform(0.2, 0.45))
        if rng.random() < 0.5
        else (rng.uniform(0.1, 0.3), rng.uniform(0.8, 1), rng.uniform(0.7, 0.95))
    )
    picture = np.where(body, fat, 0.0).astype(np.float32)
    picture[wall] = tissue
    lungs = np.zeros_like(body)
    for side in (-1, 1):
        centre = side * wide * rng.uniform(0.42, 0.55)
        lung = ((x - centre) / (wide * rng.uniform(0.26, 0.38))) ** 2 + (
            (y - rng.uniform(-0.08, 0.08)) / (high * rng.uniform(0.5, 0.8))
        ) ** 2
        lungs |= (lung + 3 * warp < 1) & wall
    heart = ((x - rng.uniform(-0.1, 0.2)) / (wide * rng.uniform(0.2, 0.36))) ** 2 + (
        (y + high * rng.uniform(0.0, 0.35)) / (high * rng.uniform(0.3, 0.55))
    ) ** 2 < 1
    lungs &= ~heart
    picture[lungs] = air
    vessels = ndimage.gaussian_filter(rng.random((size, size)), 0.7) > rng.uniform(0.6, 0.72)
    picture[lungs & vessels] = rng.uniform(air, tissue)
    if rng.random() < 0.5:
        picture[lungs] += (rng.uniform(0.1, 0.6) * _fractal(rng, size, 1.6))[lungs]
    spine = (x / 0.12) ** 2 + ((y - high * rng.uniform(0.5, 0.7)) / 0.13) ** 2 < 1
    picture[spine & body] = rng.uniform(0.85, 1)
    rim = (x / wide) ** 2 + (y / high) ** 2
    ribs = (rim > 0.62) & (rim < 0.75) & (np.sin(rng.uniform(7, 12) * np.arctan2(y, x)) > 0.2)
    picture[ribs & body] = rng.uniform(0.8, 1)
    table = np.abs(y - high - 0.12 + 0.1 * x**2) < 0.015
    picture[table & ~body] += rng.uniform(0, 0.5)
    blurred = ndimage.gaussian_filter(picture, rng.uniform(0.3, 1)) + rng.normal(0, 0.02, (size, size))
    return _bytes(np.rot90(blurred, 2) if rng.random() < 0.1 else blurred)


def photographs(pictures: list[Image.Image], rng: Rng, size: int, count: int) -> NDArray[np.uint8]:
    """Cut `count` squares of any place, scale and turn out of photographs; uint8 [count, size, size]."""
    cuts = np.empty((count, size, size), np.uint8)
    for index in range(count):
        picture = pictures[int(rng.integers(len(pictures)))]
        side = min(picture.size) * rng.uniform(0.15, 1)
        left, top = (rng.uniform(0, length - side) for length in picture.size)
        box = (left, top, left + side, top + side)
        cut = picture.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2)
        cuts[index] = np.rot90(np.asarray(cut), int(rng.integers(4)))
    return cuts


def _bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), np.uint8)


def _clipped(picture: NDArray[Any]) -> Grey:
    return np.asarray(np.clip(picture, 0, 1), np.float32)


def _grid(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis = np.linspace(-1, 1, size)
    return axis[:, None], axis[None, :]


def _spread(picture: NDArray[Any]) -> Grey:
    low, high = float(picture.min()), float(picture.max())
    return np.asarray((picture - low) / max(high - low, 1e-9), np.float32)


def _fractal(rng: Rng, size: int, slope: float | None = None) -> Grey:
    """Noise whose spectrum falls as 1/f^slope, stretched along a chance direction."""
    slope = rng.uniform(0.4, 3) if slope is None else slope
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    angle, stretch = rng.uniform(0, math.pi), math.exp(rng.uniform(0, 1.5)) if rng.random() < 0.4 else 1
    along, across = fx * math.cos(angle) + fy * math.sin(angle), fy * math.cos(angle) - fx * math.sin(angle)
    radius = np.sqrt((along * stretch) ** 2 + across**2)
    radius[0, 0] = 1
    waves = rng.normal(size=radius.shape) + 1j * rng.normal(size=radius.shape)
    return _spread(np.fft.irfft2(waves / radius**slope, (size, size)))


def _noise(rng: Rng, size: int) -> Grey:
    kind = rng.integers(4)
    picture: NDArray[Any]
    if kind == 0:
        picture = rng.random((size, size))
    elif kind == 1:
        picture = rng.uniform(0, 1) + rng.uniform(0.005, 0.3) * rng.normal(size=(size, size))
    elif kind == 2:
        picture = (rng.random((size, size)) < rng.uniform(0.01, 0.5)).astype(np.float64)
    else:
        cells = int(rng.integers(2, size // 2))
        picture = np.kron(rng.random((cells, cells)), np.ones((-(-size // cells),) * 2))[:size, :size]
    if rng.random() < 0.5:
        picture = ndimage.gaussian_filter(picture, rng.uniform(0.4, 8))
    return _spread(picture) if rng.random() < 0.6 else np.asarray(picture, np.float32)


def _gradient(rng: Rng, size: int) -> Grey:
    y, x = _grid(size)
    x, y = x - rng.uniform(-1, 1), y - rng.uniform(-1, 1)
    angle = rng.uniform(0, 2 * math.pi)
    ramp = [
        x * math.cos(angle) + y * math.sin(angle),
        np.hypot(x * rng.uniform(0.5, 2), y),
        np.arctan2(y, x) / math.pi,
        np.abs(x) + np.abs(y),
    ][int(rng.integers(4))]
    if rng.random() < 0.5:
        ramp = np.sin(rng.uniform(1, 25) * ramp)
        if rng.random() < 0.5:
            ramp = np.sign(ramp)
    if rng.random() < 0.3:
        ramp = ramp * np.sin(rng.uniform(2, 25) * (x * math.sin(angle) - y * math.cos(angle)))
    return np.asarray(_spread(ramp) ** math.exp(rng.normal(0, 0.5)) * rng.uniform(0.3, 1), np.float32)


def _blobs(rng: Rng, size: int) -> Grey:
    """Soft spots of light and shade, as of lamps, clouds and things out of focus."""
    y, x = _grid(size)
    picture = np.full((size, size), rng.uniform(0, 1)) + rng.normal(0, 0.3) * x + rng.normal(0, 0.3) * y
    for _ in range(int(rng.integers(1, 7))):
        a, b = rng.uniform(0.1, 1, 2)
        away = ((x - rng.uniform(-1, 1)) / a) ** 2 + ((y - rng.uniform(-1, 1)) / b) ** 2
        picture = picture + rng.normal(0, 0.5) * np.exp(-(away ** rng.uniform(0.6, 2)))
    return np.asarray(_spread(picture) * rng.uniform(0.3, 1), np.float32)


def _waves(rng: Rng, size: int) -> Grey:
    """A small network with chance weights from coordinates to grey: smooth patterns of endless kinds."""
    y, x = _grid(size)
    inputs = np.stack(np.broadcast_arrays(x, y, np.hypot(x, y), np.ones_like(x * y)), axis=-1)
    values = inputs.reshape(-1, 4)
    for _ in range(int(rng.integers(2, 5))):
        mixed = values @ rng.normal(0, rng.uniform(0.8, 2.5), (values.shape[1], 10))
        values = (np.tanh(mixed), np.sin(mixed), np.abs(mixed), np.maximum(mixed, 0))[int(rng.integers(4))]
    return _spread((values @ rng.normal(size=10)).reshape(size, size))


def _leaves(rng: Rng, size: int) -> Grey:
    """Dead leaves: shapes of all sizes that hide each other, as things do in photographs."""
    canvas = Image.fromarray((_fractal(rng, size) * 255).astype(np.uint8))
    count = int(math.exp(rng.uniform(1, 5)))
    textured = rng.random()
    for _ in range(count):
        radius = size * min(0.8, 0.04 * rng.pareto(1.2) + 0.02)
        mask = Image.new("L", (size, size))
        _shape(rng, ImageDraw.Draw(mask), rng.uniform(0, size, 2), radius, 255)
        fill = int(rng.integers(256))
        if rng.random() < textured * 0.3:
            shade = np.clip(_fractal(rng, size) * rng.uniform(0.2, 1) + fill / 255 - 0.4, 0, 1)
            canvas.paste(Image.fromarray((shade * 255).astype(np.uint8)), mask=mask)
        else:
            canvas.paste(fill, mask=mask)
    if rng.random() < 0.5:
        canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2)))
    return _unit(canvas)


def _shape(
    rng: Rng, draw: ImageDraw.ImageDraw, centre: NDArray[np.float64], radius: float, fill: int
) -> None:
    kind = rng.integers(4)
    if kind < 2:
        a, b = radius * rng.uniform(0.4, 1, 2)
        box = (centre[0] - a, centre[1] - b, centre[0] + a, centre[1] + b)
        (draw.ellipse if kind else draw.rectangle)(box, fill=fill)
    else:
        angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 9))))
        reach = radius * rng.uniform(0.4, 1, angles.size)
        points = np.stack([centre[0] + reach * np.cos(angles), centre[1] + reach * np.sin(angles)], axis=1)
        draw.polygon([tuple(point) for point in points.tolist()], fill=fill)


def _object(rng: Rng, size: int) -> Grey:
    """One or a few shaded things before a plain ground: coins, cups, faces, silhouettes."""
    picture = _gradient(rng, size) * 0.3 + rng.uniform(0, 0.7)
    for _ in range(int(rng.choice([1, 1, 2, 3, 8, 20]))):
        y, x = _grid(size)
        x, y = x - rng.uniform(-0.7, 0.7), y - rng.uniform(-0.7, 0.7)
        reach = rng.uniform(0.1, 0.9)
        shape = (x / reach) ** 2 + (y / (reach * rng.uniform(0.5, 1.6))) ** 2
        shape = shape + rng.uniform(0, 1.2) * (_fractal(rng, size, rng.uniform(1.5, 3)) - 0.5)
        shade = rng.uniform(0, 1) + rng.uniform(-0.5, 0.5) * (x * rng.normal() + y * rng.normal())
        shade = shade + rng.uniform(0, 0.5) * (_fractal(rng, size) - 0.5)
        picture = np.where(shape < 1, shade, picture)
    return _clipped(picture)


def _page(rng: Rng, size: int) -> Grey:
    """A page of text in one or two columns, with a title, a table or a figure at times."""
    scale = 3
    side = size * scale
    page = Image.new("L", (side, side), 255)
    draw = ImageDraw.Draw(page)
    margin, columns = int(side * rng.uniform(0.02, 0.12)), int(rng.integers(1, 4))
    width = (side - 2 * margin) // columns
    height = int(rng.integers(8, 40))
    font = ImageFont.load_default(height)
    for column in range(columns):
        y = margin
        while y < side - margin:
            if rng.random() < 0.05:
                box = (margin + column * width, y, margin + (column + 1) * width - 8, y + 6 * height)
                draw.rectangle(box, fill=int(rng.integers(256)), outline=0)
                y += 7 * height
            line = " ".join(rng.choice(_WORDS, int(rng.integers(1, 14))))
            draw.text((margin + column * width, y), line[: 1 + int(1.9 * width / height)], 0, font)
            y += int(height * rng.uniform(1.1, 2.2))
    picture = _unit(page.resize((size, size), Image.Resampling.BOX))
    if rng.random() < 0.3:
        picture = 1 - picture
    return np.asarray(picture * rng.uniform(0.6, 1), np.float32)


def _lines(rng: Rng, size: int) -> Grey:
    """A line drawing, a plan or a diagram."""
    scale = 2
    side = size * scale
    canvas = Image.new("L", (side, side), 255)
    draw = ImageDraw.Draw(canvas)
    pen = int(rng.integers(1, 9))
    for _ in range(int(math.exp(rng.uniform(0.5, 4)))):
        kind, points = rng.integers(5), rng.uniform(0, side, (int(rng.integers(2, 7)), 2))
        x0, x1 = sorted(points[:2, 0])
        y0, y1 = sorted(points[:2, 1])
        if kind == 0:
            draw.line([tuple(point) for point in points.tolist()], fill=0, width=pen)
        elif kind == 1:
            draw.ellipse((x0, y0, x1, y1), outline=0, width=pen)
        elif kind == 2:
            draw.rectangle((x0, y0, x1, y1), outline=0, width=pen)
        elif kind == 3:
            start, end = rng.uniform(0, 360, 2)
            draw.arc((x0, y0, x1, y1), start, end, fill=0, width=pen)
        else:
            t = np.linspace(0, 1, 20)[:, None]
            a, b, c = points[0], points[1], rng.uniform(0, side, 2)
            curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
            draw.line([tuple(point) for point in curve.tolist()], fill=0, width=pen, joint="curve")
    picture = _unit(canvas.resize((size, size), Image.Resampling.BOX))
    return 1 - picture if rng.random() < 0.4 else picture


def _screen(rng: Rng, size: int) -> Grey:
    """A screenshot: bars, panels, buttons and pictures in a layout."""
    picture = np.full((size, size), rng.choice([0.1, 0.2, 0.9, 1.0]), np.float32)
    picture[: int(rng.integers(3, 10))] = rng.random()
    fillers: list[Callable[[Rng, int], Grey]] = [_page, _fractal, _leaves, _chart, _object]
    for _ in range(int(rng.integers(2, 9))):
        y, x = (int(v) for v in rng.integers(0, size - 10, 2))
        h, w = (int(v) for v in rng.integers(8, size, 2))
        panel = picture[y : y + h, x : x + w]
        if rng.random() < 0.5:
            inside = fillers[int(rng.integers(len(fillers)))](rng, size)[: panel.shape[0], : panel.shape[1]]
        else:
            inside = np.full(panel.shape, rng.random(), np.float32)
        panel[:] = inside
        panel[:1] = panel[:, :1] = rng.random()
    return picture


def _window(rng: Rng, size: int) -> Grey:
    """A window with a bar, a list at the side and lines of text, in flat greys."""
    scale = 4
    side = size * scale
    dark = rng.random() < 0.5
    ground, ink = (rng.integers(0, 70), 230) if dark else (rng.integers(190, 256), 20)
    canvas = Image.new("L", (side, side), int(ground))
    draw = ImageDraw.Draw(canvas)
    left = int(side * rng.uniform(0, 0.35))
    draw.rectangle((0, 0, left, side), fill=int(rng.integers(256)))
    draw.rectangle((0, 0, side, int(side * rng.uniform(0.02, 0.1))), fill=int(rng.integers(256)))
    height = int(rng.integers(8, 26))
    font = ImageFont.load_default(height)
    for y in range(int(side * 0.12), side - height, int(height * rng.uniform(1.2, 3))):
        if rng.random() < 0.8:
            draw.text((8, y), " ".join(rng.choice(_WORDS, 2)), ink, font)
        line = " ".join(rng.choice(_WORDS, int(rng.integers(1, 12))))
        draw.text((left + 10, y), line, ink, font)
    shrunk = canvas.resize((size, int(size * rng.uniform(0.5, 1))), Image.Resampling.BOX)
    picture = np.zeros((size, size), np.float32) if rng.random() < 0.7 else np.ones((size, size), np.float32)
    top = (size - shrunk.height) // 2
    picture[top : top + shrunk.height] = _unit(shrunk)
    return picture


def _chart(rng: Rng, size: int) -> Grey:
    """Bars, curves or points in a frame of axes."""
    canvas = Image.new("L", (2 * size, 2 * size), 255)
    draw = ImageDraw.Draw(canvas)
    side = 2 * size
    draw.line([(side // 8, side // 10), (side // 8, side * 7 // 8), (side * 9 // 10, side * 7 // 8)], 0, 2)
    count = int(rng.integers(3, 20))
    heights = np.clip(0.5 + np.cumsum(rng.normal(0, 0.15, count)), 0.05, 0.95) * side * 0.75
    xs = np.linspace(side / 7, side * 0.88, count)
    bottom, kind = side * 7 / 8, rng.integers(3)
    if kind == 0:
        for x, height in zip(xs.tolist(), heights.tolist()):
            draw.rectangle((x - side / 3 / count, bottom - height, x + side / 3 / count, bottom), fill=90)
    elif kind == 1:
        draw.line([(x, bottom - h) for x, h in zip(xs.tolist(), heights.tolist())], fill=30, width=4)
    else:
        for x, y in rng.uniform(side / 7, side * 0.85, (40, 2)).tolist():
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=60)
    return _unit(canvas.resize((size, size), Image.Resampling.BOX))


def _limbs(rng: Rng, size: int) -> Grey:
    """Soft tissue with bones on black: hands, limbs and joints as radiographs show them."""
    y, x = _grid(size)
    picture = np.zeros((size, size))
    bones = np.zeros((size, size))

    def rod(
        start: NDArray[np.float64], end: NDArray[np.float64], flesh: float, bone: float, parts: int
    ) -> None:
        nonlocal picture, bones
        d = end - start
        along = np.clip(((x - start[0]) * d[0] + (y - start[1]) * d[1]) / max(float(d @ d), 1e-9), 0, 1)
        away = np.hypot(x - start[0] - along * d[0], y - start[1] - along * d[1])
        picture = np.maximum(picture, np.sqrt(np.clip(1 - (away / flesh) ** 2, 0, 1)) * 0.45)
        joint = np.abs(((along * parts) % 1) - 0.5)
        width = bone * (0.7 + 0.9 * joint)
        rim = np.clip(1 - away / width, 0, 1) ** 0.5 * (joint < 0.47)
        bones = np.maximum(bones, rim)

    if rng.random() < 0.5:  # a hand or a foot
        root = np.array([rng.uniform(-0.2, 0.2), rng.uniform(0.4, 0.8)])
        for finger in range(5):
            angle = -math.pi / 2 + (finger - 2) * rng.uniform(0.16, 0.3)
            tip = root + rng.uniform(0.8, 1.35) * np.array([math.cos(angle), math.sin(angle)])
            rod(root, tip, rng.uniform(0.09, 0.15), rng.uniform(0.04, 0.07), int(rng.integers(3, 6)))
        rod(root, root + np.array([0, 0.7]), rng.uniform(0.2, 0.35), rng.uniform(0.1, 0.2), 2)
    else:
        for _ in range(int(rng.integers(1, 4))):
            start, end = rng.uniform(-1.1, 1.1, 2), rng.uniform(-1.1, 1.1, 2)
            flesh = rng.uniform(0.15, 0.5)
            rod(start, end, flesh, flesh * rng.uniform(0.3, 0.6), int(rng.integers(1, 4)))
    if rng.random() < 0.3:  # a skull: a bright rim with hollows
        ring = np.hypot(x / rng.uniform(0.5, 0.8), y / rng.uniform(0.6, 0.95))
        picture = np.maximum(picture, 0.4 * (ring < 1))
        bones = np.maximum(bones, np.exp(-(((ring - 0.95) / 0.05) ** 2)))
    picture = picture + rng.uniform(0.3, 0.6) * bones + 0.1 * (_fractal(rng, size, 2) - 0.5)
    picture = np.rot90(picture + rng.uniform(0, 0.15), int(rng.integers(4)))
    return _clipped(ndimage.gaussian_filter(picture, rng.uniform(0.3, 1)))


def _head(rng: Rng, size: int) -> Grey:
    """A slice through a head or a belly: an oval with folds, hollows and organs inside."""
    y, x = _grid(size)
    a, b = rng.uniform(0.5, 0.95, 2)
    oval = np.sqrt((x / a) ** 2 + (y / b) ** 2) + 0.1 * (_fractal(rng, size, 2.5) - 0.5)
    inside = _fractal(rng, size, rng.uniform(0.8, 2))
    if rng.random() < 0.6:
        inside = np.concatenate([inside[:, : size // 2], inside[:, : size - size // 2][:, ::-1]], axis=1)
    picture = np.where(oval < 0.85, rng.uniform(0.2, 0.6) + rng.uniform(0.2, 0.8) * (inside - 0.5), 0.0)
    picture = picture + rng.uniform(0, 1) * np.exp(-(((oval - 0.93) / 0.05) ** 2))
    for _ in range(int(rng.integers(0, 6))):
        cx, cy, r = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(0.05, 0.35)
        organ = np.hypot((x - cx) / r, (y - cy) / (r * rng.uniform(0.5, 1.5))) < 1
        picture = np.where(organ & (oval < 0.85), rng.uniform(0, 1), picture)
    return _clipped(ndimage.gaussian_filter(picture, rng.uniform(0.2, 1.2)))


def _unit(picture: Image.Image) -> Grey:
    return np.asarray(np.asarray(picture, np.float32) / np.float32(255), np.float32)


_KINDS: Final[tuple[Callable[[Rng, int], Grey], ...]] = (
    _noise, _fractal, _gradient, _gradient, _blobs, _waves, _waves, _leaves, _leaves, _leaves, _object,
    _object, _page, _lines, _lines, _screen, _screen, _window, _chart, _limbs, _limbs, _head,
)  # fmt: skip
"""The kinds of pictures; those that vary most stand in it more than once."""
