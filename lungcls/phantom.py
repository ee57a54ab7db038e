"""A synthetic frontal chest X-ray with its exact lung mask, for examples and tests.

No real X-ray may travel with the package, so the pictures of the documentation and the images of the tests
are drawn here. A phantom looks like a chest to a network that learnt on real ones, but it is no patient: no
figure measured on phantoms says anything about real images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label, zoom
from skimage.draw import line

from lungcls.errors import OptionError

Array = NDArray[np.float64]

_GLYPHS = {
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A drawn chest X-ray and the lungs in it.

    Attributes
    ----------
    image : float32 array of shape [H, W]
        Grey values in [0, 1]; air is dark, bone is bright.
    mask : bool array of shape [H, W]
        True on the lungs, the heart left out, as in the public lung mask sets.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]


def chest_phantom(
    size: int | tuple[int, int] = 512,
    *,
    seed: int = 0,
    opacity: float = 0.0,
    noise: float = 0.012,
    letter: str | None = "R",
) -> Phantom:
    """Draw a chest X-ray.

    Parameters
    ----------
    size : int or (int, int)
        Side of a square image, or (height, width), in pixels; at least 32. The chest keeps its proportions:
        in a rectangle it fills the shorter side.
    seed : int
        Chooses the person and the pose: scale, shift, rotation, size of heart and lungs, ribs, vessels,
        exposure. The same seed and size give the same arrays; the same seed at another size gives nearly the
        same chest.
    opacity : float
        How much of cloudy opacity lies over the lungs: 0 for clear lungs, 1 for nearly white ones.
    noise : float
        Standard deviation of the grain, in grey values.
    letter : {"R", "L", None}
        The marker in the upper corner beside that shoulder ("R" stands at the left edge of the image).

    Returns
    -------
    Phantom

    Raises
    ------
    ValueError
        If a parameter is outside the values above.

    Examples
    --------
    >>> phantom = chest_phantom(256, seed=3)
    >>> phantom.image.shape, phantom.mask.dtype
    ((256, 256), dtype('bool'))
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 32 or width < 32:
        raise OptionError(f"size={size!r} is too small for a chest; give at least 32 pixels a side")
    if not 0.0 <= opacity <= 1.0:
        raise OptionError(f"opacity={opacity!r} is outside [0, 1]")
    if not 0.0 <= noise <= 0.5:
        raise OptionError(f"noise={noise!r} is outside [0, 0.5]")
    if letter is not None and letter not in _GLYPHS:
        raise OptionError(f"letter={letter!r} is not one of {sorted(_GLYPHS)} or None")

    rng = np.random.default_rng(seed)
    frame = _Frame.draw(rng, height, width)
    anatomy = _Anatomy.draw(rng)
    x, y = frame.coordinates()

    body = _smooth_step(anatomy.body_edge(y) - np.abs(x), 0.02)
    # Lungs are two level functions, positive inside: left and right of the picture, mirrored into x > 0.
    levels = [anatomy.lung_level(x * side, y, side) for side in (-1, 1)]
    level = np.maximum(levels[0], levels[1])
    lungs = _smooth_step(level, 0.012)

    thickness = 0.42 + 0.10 * np.exp(-((x / 0.55) ** 2)) + 0.16 * _smooth_step(y - 0.42, 0.25)
    attenuation = thickness * body
    attenuation -= (
        0.10 * body * _smooth_step(np.abs(x) - 0.62, 0.3) * _smooth_step(-0.35 - y, 0.2)
    )  # thin shoulders
    attenuation += 0.16 * np.exp(-(np.abs(x / 0.20) ** 3)) * _smooth_step(y + 0.80, 0.15)  # mediastinum
    attenuation += anatomy.heart(x, y)
    depth = np.clip(level / 0.22, 0.0, 1.0)  # the chest is deeper in the middle of a lung than at its rim
    attenuation -= lungs * (0.24 + 0.16 * np.sqrt(depth))

    attenuation += 0.115 * _ribs(anatomy, x, y) * body
    attenuation += _spine(anatomy, x, y) * body
    attenuation += 0.13 * _shoulder_bones(anatomy, x, y) * body
    attenuation -= (
        0.12 * np.exp(-((x - anatomy.tilt * y) ** 2) / 0.0012) * _smooth_step(-0.32 - y, 0.08)
    )  # trachea
    attenuation += lungs * _vessels(rng, anatomy, frame)
    stomach_x, stomach_y = anatomy.stomach
    bubble = 1.0 - np.hypot((x - stomach_x) / 0.13, (y - stomach_y) / 0.06)
    attenuation -= 0.12 * _smooth_step(bubble, 0.4) * (1.0 - lungs)

    clouds = _clouds(np.random.default_rng((seed, 1)), frame, cells=7)
    texture = _clouds(np.random.default_rng((seed, 2)), frame, cells=48)
    attenuation += 0.011 * texture * lungs + 0.02 * _clouds(rng, frame, cells=5) * body
    if opacity > 0.0:
        patches = _smooth_step(clouds + 3.0 * opacity - 1.5, 2.0)
        haze = 0.9 + 0.06 * clouds + 0.05 * texture
        attenuation += lungs * (0.08 + 0.24 * opacity) * patches * haze

    image: Array = gaussian_filter(attenuation, 0.0012 * frame.side)
    image = np.clip((image - 0.01) / (0.86 - 0.01), 0.0, None) ** anatomy.gamma
    image = 0.04 + 0.90 * (1.0 - np.exp(-1.6 * image)) / (1.0 - math.exp(-1.6))  # a film's shoulder
    if letter is not None:
        _stamp(image, letter, frame.side)
    image += noise * np.random.default_rng((seed, 3)).standard_normal(image.shape)
    mask = _largest_part(levels[0] > 0.0) | _largest_part(levels[1] > 0.0)
    return Phantom(np.clip(image, 0.0, 1.0).astype(np.float32), mask)


@dataclass(frozen=True, slots=True)
class _Frame:
    """How the chest lies in the picture. Chest coordinates: x to the right, y down, about [-1, 1]."""

    height: int
    width: int
    scale: float
    shift: tuple[float, float]
    angle: float

    @classmethod
    def draw(cls, rng: np.random.Generator, height: int, width: int) -> _Frame:
        scale = rng.uniform(0.88, 1.02)
        shift = (rng.uniform(-0.05, 0.05), rng.uniform(-0.04, 0.06))
        return cls(height, width, scale, shift, math.radians(rng.uniform(-4.0, 4.0)))

    @property
    def side(self) -> int:
        return min(self.height, self.width)

    def coordinates(self) -> tuple[Array, Array]:
        rows, columns = np.mgrid[: self.height, : self.width]
        u = (2.0 * columns + 1.0 - self.width) / (self.side * self.scale) - self.shift[0]
        v = (2.0 * rows + 1.0 - self.height) / (self.side * self.scale) - self.shift[1]
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return cos * u + sin * v, cos * v - sin * u

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        u = (cos * x - sin * y + self.shift[0]) * self.scale
        v = (sin * x + cos * y + self.shift[1]) * self.scale
        return round((v * self.side + self.height - 1) / 2), round((u * self.side + self.width - 1) / 2)


@dataclass(frozen=True, slots=True)
class _Anatomy:
    """The person. Sides are -1 for the left of the picture (the right lung) and +1 for the right."""

    apex: tuple[float, float]  # y of the lung tops
    half_width: tuple[float, float]  # of the chest at its widest
    dome: tuple[float, float]  # y of the diaphragm domes
    heart_width: float
    heart_y: float
    rib_pitch: float
    rib_phase: float
    tilt: float
    clavicle: tuple[float, float]
    stomach: tuple[float, float]
    gamma: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Anatomy:
        apex = rng.uniform(-0.84, -0.76)
        half_width = rng.uniform(0.70, 0.80)
        dome = rng.uniform(0.32, 0.46)
        heart_y = dome - rng.uniform(0.10, 0.14)
        return cls(
            apex=(apex + rng.uniform(-0.02, 0.02), apex + rng.uniform(-0.02, 0.02)),
            half_width=(half_width + rng.uniform(-0.03, 0.03), half_width + rng.uniform(-0.03, 0.03)),
            dome=(dome, dome + rng.uniform(0.02, 0.08)),
            heart_width=rng.uniform(0.36, 0.48),
            heart_y=heart_y,
            rib_pitch=rng.uniform(0.135, 0.155),
            rib_phase=rng.uniform(-0.04, 0.04),
            tilt=rng.uniform(-0.02, 0.02),
            clavicle=(rng.uniform(-0.70, -0.62), rng.uniform(-0.70, -0.62)),
            stomach=(rng.uniform(0.28, 0.42), dome + rng.uniform(0.20, 0.26)),
            gamma=rng.uniform(0.85, 1.2),
        )

    def at(self, pair: tuple[float, float], side: int) -> float:
        return pair[0] if side < 0 else pair[1]

    def body_edge(self, y: Array) -> Array:
        """Half width of the body at height y: neck, shoulders, flanks."""
        neck = 0.24 + 0.06 * np.clip(-0.9 - y, 0.0, 1.0)
        shoulder = 0.98 * np.sqrt(np.clip((y + 0.93) / 0.42, 0.0, 1.0))
        flank = 1.02 - 0.06 * np.exp(-(((y - 0.20) / 0.40) ** 2))
        return np.minimum(np.maximum(neck, shoulder), flank)

    def lung_outer(self, y: Array, side: int) -> Array:
        apex = self.at(self.apex, side)
        t = np.clip((y - apex) / 1.38, 0.0, 1.0)
        top = 0.30
        return top + (self.at(self.half_width, side) - top) * (1.0 - (1.0 - t) ** 2.6) ** 0.62

    def lung_inner(self, y: Array, side: int) -> Array:
        apex = self.at(self.apex, side)
        t = np.clip((y - apex) / 0.30, 0.0, 1.0)
        border = np.full_like(y, 0.14 if side < 0 else 0.13) + self.tilt * side * y
        if side < 0:
            border += 0.09 * np.exp(-(((y - self.heart_y + 0.02) / 0.20) ** 2))  # right atrium
            border += 0.03 * np.exp(-(((y + 0.05) / 0.12) ** 2))  # hilum
        else:
            border += 0.05 * np.exp(-(((y + 0.36) / 0.09) ** 2))  # aortic knob
            border += 0.05 * np.exp(-(((y + 0.12) / 0.14) ** 2))  # pulmonary trunk and hilum
            border += (self.heart_width - 0.10) * np.exp(-(((y - self.heart_y - 0.06) / 0.27) ** 2))
        return border + (0.30 - border) * (1.0 - np.sqrt(1.0 - (1.0 - t) ** 2))

    def lung_level(self, x: Array, y: Array, side: int) -> Array:
        """Roughly the signed distance to the edge of one lung, positive inside; x is mirrored to its side."""
        half_width = self.at(self.half_width, side)
        lateral = np.clip((x - 0.42 * half_width) / (0.58 * half_width), 0.0, 1.2)
        medial = np.clip((0.42 * half_width - x) / (0.42 * half_width), 0.0, 1.2)
        floor = self.at(self.dome, side) + 0.30 * lateral**2.4 + 0.06 * medial**2
        edges = (
            self.lung_outer(y, side) - x,
            x - self.lung_inner(y, side),
            0.8 * (floor - y),
            y - self.at(self.apex, side),
        )
        level: Array = np.minimum.reduce(edges)
        return level

    def heart(self, x: Array, y: Array) -> Array:
        dx, dy = x - 0.13, y - self.heart_y - 0.02
        cos, sin = math.cos(0.6), math.sin(0.6)
        long, short = (cos * dx + sin * dy) / (self.heart_width * 0.95), (cos * dy - sin * dx) / 0.27
        heart = 0.16 * _smooth_step(1.0 - np.hypot(long, short), 0.5)
        vessel = np.exp(-(((x - 0.15) / 0.05) ** 2) - (((y + 0.36) / 0.07) ** 2))
        return heart + 0.06 * vessel


def _smooth_step(value: Array, width: float) -> Array:
    """0 below -width / 2, 1 above width / 2, a cubic in between."""
    t = np.clip(value / width + 0.5, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _tube(distance: Array, radius: float) -> Array:
    """Profile of a hollow bone across its axis: a flat middle and brighter rims."""
    r = np.abs(distance) / radius
    return (0.6 + 0.4 * np.clip(r, 0.0, 1.0) ** 2) * _smooth_step(1.0 - r, 0.35)


def _ribs(anatomy: _Anatomy, x: Array, y: Array) -> Array:
    ribs = np.zeros_like(x)
    for side in (-1, 1):
        along = x * side
        outer = anatomy.lung_outer(y, side) + 0.035
        inside = _smooth_step(along - 0.06, 0.04) * _smooth_step(outer - along, 0.03)
        # Ribs are seen edge on where they turn round the side of the chest, and so are brighter there.
        rim = inside * (1.0 + 0.9 * np.exp(-(((outer - along) / 0.06) ** 2)))
        reach = np.clip(along / anatomy.at(anatomy.half_width, side), 0.0, 1.2)
        for k in range(11):
            start = -0.80 + anatomy.rib_phase + k * anatomy.rib_pitch
            drop = 0.10 + 0.028 * k
            back = start - 0.05 * np.sin(np.pi * np.clip(1.4 * reach, 0.0, 1.0)) + drop * reach**2.2
            ribs += rim * _tube(y - back, 0.024)
            if 1 <= k <= 7:
                front = start + 0.26 - 0.30 * np.clip(reach - 0.25, 0.0, 1.0) ** 1.3
                ribs += 0.45 * inside * _smooth_step(reach - 0.42, 0.2) * _tube(y - front, 0.028)
    return ribs


def _spine(anatomy: _Anatomy, x: Array, y: Array) -> Array:
    x = x - anatomy.tilt * y
    column = _smooth_step(0.085 - np.abs(x), 0.03)
    pitch = anatomy.rib_pitch
    phase = (y + 0.80 - anatomy.rib_phase) / pitch
    discs = np.exp(-(((phase - np.round(phase)) * pitch / 0.018) ** 2))
    process = np.exp(-((x / 0.018) ** 2)) * np.exp(-(((phase - np.floor(phase) - 0.5) * pitch / 0.03) ** 2))
    return column * (0.075 - 0.035 * discs) + 0.04 * process


def _shoulder_bones(anatomy: _Anatomy, x: Array, y: Array) -> Array:
    bones = np.zeros_like(x)
    for side in (-1, 1):
        along = x * side
        clavicle = anatomy.at(anatomy.clavicle, side)
        reach = np.clip((along - 0.08) / 0.72, 0.0, 1.0)
        centre = clavicle + 0.10 * (1.0 - reach) ** 1.5 - 0.05 * np.sin(np.pi * reach)
        ends = _smooth_step(along - 0.08, 0.04) * _smooth_step(0.80 - along, 0.04)
        bones += ends * _tube(y - centre, 0.030)
        # Humeral head, shaft and the edge of the shoulder blade.
        bones += 0.9 * _smooth_step(1.0 - np.hypot(along - 0.90, y + 0.60) / 0.12, 0.25)
        shaft = along - 0.93 - 0.08 * (y + 0.5)
        bones += 0.9 * _tube(shaft, 0.06) * _smooth_step(y + 0.58, 0.08)
        blade = along - 0.80 + 0.30 * np.clip(y + 0.55, 0.0, 1.0)
        bones += 0.5 * _tube(blade, 0.022) * _smooth_step(y + 0.60, 0.1) * _smooth_step(-0.02 - y, 0.1)
    return bones


def _vessels(rng: np.random.Generator, anatomy: _Anatomy, frame: _Frame) -> Array:
    """Branching lines out of each hilum, thinning outwards."""
    calibres = (0.016, 0.010, 0.006, 0.004)  # radius in chest units
    canvases = [np.zeros((frame.height, frame.width)) for _ in calibres]

    def grow(x: float, y: float, angle: float, calibre: int) -> None:
        for _ in range(int(rng.integers(2, 5))):
            length = rng.uniform(0.05, 0.10)
            angle += rng.normal(0.0, 0.16)
            x2, y2 = x + length * math.cos(angle), y + length * math.sin(angle)
            rows, columns = line(*frame.pixel(x, y), *frame.pixel(x2, y2))
            keep = (rows >= 0) & (rows < frame.height) & (columns >= 0) & (columns < frame.width)
            canvases[calibre][rows[keep], columns[keep]] = 1.0
            x, y = x2, y2
        if calibre + 1 < len(calibres):
            for turn in rng.uniform(0.2, 0.7, size=2) * (1.0, -1.0):
                grow(x, y, angle + turn, calibre + 1)

    for side in (-1, 1):
        for angle in np.linspace(-1.25, 1.35, 8) + rng.normal(0.0, 0.08, 8):
            heading = float(angle) if side > 0 else math.pi - float(angle)
            grow(side * 0.17 + anatomy.tilt, -0.08 + 0.05 * float(angle), heading, 0)

    total = np.zeros((frame.height, frame.width))
    for radius, canvas in zip(calibres, canvases, strict=True):
        sigma = max(radius * frame.side * frame.scale / 2.0, 0.5)
        # Thick vessels hold more blood along the beam, so they are brighter.
        total += _widen(canvas, sigma) * (0.025 + 3.5 * radius)
    hila = np.zeros_like(total)
    x, y = frame.coordinates()
    for side in (-1, 1):
        hila += np.exp(-(((x * side - 0.20) / 0.08) ** 2) - (((y + 0.06) / 0.14) ** 2))
    return np.minimum(total, 0.14) + 0.09 * hila


def _widen(canvas: Array, sigma: float) -> Array:
    """Widen one-pixel lines to a Gaussian profile, and bring its peak 1 / (sigma sqrt(2 pi)) back to 1."""
    return np.minimum(gaussian_filter(canvas, sigma) * sigma * math.sqrt(2.0 * math.pi), 1.0)


def _clouds(rng: np.random.Generator, frame: _Frame, cells: int) -> Array:
    """Smooth noise of unit standard deviation with about `cells` bumps across the shorter side."""
    coarse = rng.standard_normal((3 * cells, 3 * cells))
    # Drawn on a fixed grid and cut out, so that the same seed gives the same clouds at every size.
    factor = frame.side / cells
    need = (math.ceil(frame.height / factor) + 2, math.ceil(frame.width / factor) + 2)
    tiled = np.pad(coarse, [(0, max(0, n - 3 * cells)) for n in need], mode="wrap")
    grown = zoom(tiled[: need[0], : need[1]], factor, order=3, mode="reflect", grid_mode=True)
    cut: Array = grown[: frame.height, : frame.width]
    return cut / 0.6


def _largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop the single pixels that are cut off where the borders of heart and diaphragm cross."""
    parts, count = label(mask)
    if count < 2:
        return mask
    largest: NDArray[np.bool_] = parts == 1 + np.bincount(parts[mask])[1:].argmax()
    return largest


def _stamp(image: Array, letter: str, side: int) -> None:
    glyph = np.array([[c == "1" for c in row] for row in _GLYPHS[letter]])
    scale = max(1, round(side / 130))
    block = np.kron(glyph, np.ones((scale, scale), bool))
    top = round(0.10 * image.shape[0])
    margin = max(1, round(0.03 * image.shape[1]))
    left = margin if letter == "R" else image.shape[1] - margin - block.shape[1]
    image[top : top + block.shape[0], left : left + block.shape[1]][block] = 0.97
