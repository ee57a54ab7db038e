"""Numbers that tell something of a film without looking for a disease: what a shortcut could be made of.

Three sets, of one film and its lung mask each:

``lung_statistics``
    Grey levels, sharpness, compression and grain of the pixels within the lungs, whatever their place, and
    the geometry of the mask. An opacity raises grey levels, so that a part of what they tell is disease.
``frame_statistics``
    The outermost eighth of the film at each side without the lungs' pixels: letters, borders, collimation,
    shoulders. No disease of the lungs is in it.
``outline_statistics``
    The geometry of the mask and the shape in which the lungs fill their box.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from lungcls.regions import Mask, Pixels, known_box, resize_mask

Floats = NDArray[np.float64]

SCALES: Final = (0.6, 1.2, 2.4, 4.8)
"""Standard deviations of the Gaussians between which a band of :func:`bands` lies, in pixels."""

LARGEST_SIDE: Final = 512
"""Pixels a side at which films are measured, at most: many of them stay in memory at once."""

_LEVELS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_BINS: Final = 16
_RIM: Final = 3  # pixels at the edge of the lungs whose filtered values the surroundings would reach
_BLOCK: Final = 8  # of JPEG
_FRAME: Final = 0.125
_CELLS: Final = 16
_SHAPE: Final = 8

GEOMETRY: Final = (
    "area", "box width", "box height", "box aspect", "box filled", "box x", "box y", "left share",
    "roughness",
)  # fmt: skip
"""Names of :func:`geometry`; lengths and places are shares of the film's sides."""

LUNG_NAMES: Final = (
    "mean", "sd", "skewness", "kurtosis",
    *(f"percentile {100 * level:g}" for level in _LEVELS),
    *(f"histogram {place}" for place in range(_BINS)),
    *(f"band {place}" for place in range(len(SCALES))),
    *(f"band {place} over {place + 1}" for place in range(len(SCALES) - 1)),
    "gradient", "grain", "block columns", "block rows", "levels used", "clipped dark", "clipped bright",
    *GEOMETRY,
)  # fmt: skip
"""Names of :func:`lung_statistics`, in order."""


def bands(pixels: Pixels, count: int = len(SCALES)) -> list[Pixels]:
    """Return the details of a film by their size: differences of Gaussians, finest first.

    Parameters
    ----------
    pixels : float32 array [H, W]
    count : int
        Of bands, from the finest; by default all.

    Returns
    -------
    list of float32 arrays [H, W]
        One for each of :data:`SCALES`; with the film smoothed by the last of them they add up to the film.
    """
    smooth = [pixels, *(ndimage.gaussian_filter(pixels, scale) for scale in SCALES[:count])]
    return [fine - coarse for fine, coarse in itertools.pairwise(smooth)]


def inner(mask: Mask) -> Mask:
    """Return the lungs without a rim of three pixels; the lungs as they are where nothing else is left."""
    eroded = np.asarray(ndimage.binary_erosion(mask, iterations=_RIM))
    return eroded if eroded.any() else mask


def within(pixels: Pixels, mask: Mask) -> Pixels:
    """Return a film whose surroundings are the lungs' mean, so that no filter sees them."""
    return np.where(mask, pixels, np.float32(pixels[mask].mean()))


def strengths(pixels: Pixels, mask: Mask, count: int = len(SCALES)) -> Floats:
    """Return the standard deviation of each of :func:`bands` inside the lungs, [count]."""
    kept = inner(mask)
    return np.asarray([float(band[kept].std()) for band in bands(within(pixels, mask), count)])


def lung_statistics(pixels: Pixels, mask: Mask) -> Floats:
    """Return what the pixels within the lungs tell whatever their place, and the geometry of the mask.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    mask : bool array [H, W]
        Not empty.

    Returns
    -------
    float64 array [F]
        In the order of :data:`LUNG_NAMES`: moments, percentiles and histogram of the grey levels; the
        strength of four bands of detail and their ratios; mean gradient; grain (Immerkaer's estimate of the
        noise); steps at the borders of JPEG's blocks of 8 over other steps; how many of 256 levels occur, and
        the shares of black and white.

    References
    ----------
    Immerkaer (1996), Fast noise variance estimation, Computer Vision and Image Understanding 64(2), 300-302.
    Wang, Sheikh, Bovik (2002), No-reference perceptual quality assessment of JPEG compressed images, ICIP.
    """
    values = pixels[mask].astype(np.float64)
    film, kept = within(pixels, mask), inner(mask)
    strength = np.asarray([float(band[kept].std()) for band in bands(film)])
    laplacian = ndimage.convolve(film, np.asarray([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32))
    gradient = np.hypot(ndimage.sobel(film, 0), ndimage.sobel(film, 1))
    used = np.unique(np.rint(values * 255)).size / 256
    constant = values.std() < 1e-6
    return np.asarray(
        [
            values.mean(), values.std(),
            *((0.0, 0.0) if constant else (stats.skew(values), stats.kurtosis(values))),
            *np.quantile(values, _LEVELS),
            *(np.histogram(values, bins=_BINS, range=(0, 1))[0] / values.size),
            *strength,
            *(strength[:-1] / np.maximum(strength[1:], 1e-6)),
            float(gradient[kept].mean()),
            float(np.sqrt(np.pi / 2) * np.abs(laplacian[kept]).mean() / 6),
            _blocks(film, kept, 1), _blocks(film, kept, 0),
            used, float((values < 0.01).mean()), float((values > 0.99).mean()),
            *geometry(mask),
        ]
    )  # fmt: skip


def geometry(mask: Mask) -> Floats:
    """Return size, place, proportions and roughness of the lungs, in the order of :data:`GEOMETRY`, [9].

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    x0, y0, x1, y1 = known_box(mask)
    height, width = mask.shape
    area = int(mask.sum())
    columns = np.flatnonzero(mask.any(axis=0))
    middle = int(columns[len(columns) // 2])
    edge = area - int(ndimage.binary_erosion(mask).sum())
    return np.asarray(
        [
            area / mask.size, (x1 - x0) / width, (y1 - y0) / height, (y1 - y0) / (x1 - x0),
            area / ((x1 - x0) * (y1 - y0)), (x0 + x1) / (2 * width), (y0 + y1) / (2 * height),
            float(mask[:, :middle].sum()) / area, edge / np.sqrt(area),
        ]
    )  # fmt: skip


def outline_statistics(mask: Mask) -> Floats:
    """Return the geometry and how the lungs fill 8 x 8 cells of their box, float64 [73].

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    x0, y0, x1, y1 = known_box(mask)
    fine = resize_mask(mask[y0:y1, x0:x1], (4 * _SHAPE, 4 * _SHAPE)).astype(np.float64)
    cells = fine.reshape(_SHAPE, 4, _SHAPE, 4).mean((1, 3))
    return np.concatenate([geometry(mask), cells.ravel()])


def frame_statistics(pixels: Pixels, mask: Mask) -> Floats:
    """Return grey levels and details of the outermost eighth of a film, the lungs left out.

    Parameters
    ----------
    pixels : float32 array [H, W] in [0, 1]
    mask : bool array [H, W]

    Returns
    -------
    float64 array [118]
        Means of the 112 outer cells of a grid of 16 x 16; shares of black and white; the strength of four
        bands of detail. nan where a cell holds nothing but lungs.
    """
    height, width = pixels.shape
    rows, columns = np.mgrid[:height, :width]
    frame = np.minimum(rows, height - 1 - rows) < _FRAME * height
    frame |= np.minimum(columns, width - 1 - columns) < _FRAME * width
    kept = frame & ~mask
    cell = (rows * _CELLS // height) * _CELLS + columns * _CELLS // width
    count = np.bincount(cell[kept], minlength=_CELLS**2)
    total = np.bincount(cell[kept], weights=pixels[kept], minlength=_CELLS**2)
    means = np.full(_CELLS**2, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    edge = round(_FRAME * _CELLS)
    outer = np.ones((_CELLS, _CELLS), np.bool_)
    outer[edge:-edge, edge:-edge] = False
    values = pixels[kept]
    if not values.size:
        return np.full(int(outer.sum()) + 2 + len(SCALES), np.nan)
    film = np.where(kept, pixels, np.float32(values.mean()))
    strength = [float(band[kept].std()) for band in bands(film)]
    shares = [float((values < 0.02).mean()), float((values > 0.95).mean())]
    return np.asarray([*means[outer.ravel()], *shares, *strength], np.float64)


def _blocks(film: Pixels, kept: Mask, axis: int) -> float:
    """Steps at the borders of blocks of 8 pixels over those elsewhere; 1 where nothing was compressed."""
    steps = np.abs(np.diff(film, axis=axis))
    inside = kept[:, 1:] & kept[:, :-1] if axis else kept[1:] & kept[:-1]
    places = np.arange(1, film.shape[axis]) % _BLOCK == 0
    border = np.broadcast_to(places if axis else places[:, None], steps.shape)
    at, elsewhere = steps[inside & border], steps[inside & ~border]
    if not at.size or not elsewhere.size:
        return 1.0
    return float(at.mean() / max(float(elsewhere.mean()), 1e-6))
