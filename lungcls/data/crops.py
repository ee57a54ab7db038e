"""Copies of which a part was cut off, found by trying where the one could lie in the other.

:mod:`lungcls.data.duplicates` compares whole pictures and loses sight of a copy once a few percent are
trimmed off its edges. Here every picture is also compared with cuts of every other:

1. Cuts of all pictures (0, 5 or 10% off each of the four edges) are correlated with all whole pictures, as
   high-passed thumbnails on their principal components. Most pairs end here.
2. For the pairs that are left, the edges of the cut are fitted (Gauss-Newton, as in [1]_), and what the two
   pictures share is compared in its finest details, which no two chests have in common.

References
----------
.. [1] Baker, S., & Matthews, I. (2004). Lucas-Kanade 20 years on: a unifying framework.
   International Journal of Computer Vision, 56, 221-255.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lungcls.data.thumbnails import SIZE, Floats, Integers

logger = logging.getLogger(__name__)

# Different films of one hospital reach about 0.8 (the same letters, the same borders): test_crops.py.
THRESHOLD: Final = 0.85
"""Similarity (of the finest details, after the fit) from which two pictures are taken for copies."""

_CUTS: Final = (0.0, 0.05, 0.10)  # of height or width, at each edge
_COARSE: Final = SIZE // 2  # side of the thumbnails of the first step
_COMPONENTS: Final = 128
_CANDIDATE: Final = 0.92  # correlation from which a pair is looked at again
_PROMISING: Final = 0.80  # correlation that a pair must have after the first steps of the fit
_SIGMA: Final = 5.0  # of the high-pass for the search and the fit, in pixels
_DETAIL: Final = 2.0  # of the high-pass for the verdict
_ZOOM: Final = (0.7, 1.1)  # bounds of the fit: share of the height or width that is left
_FIRST_STEPS: Final = 4
_STEPS: Final = 8


def match_crops(
    small: Floats, *, labels: Sequence[str] | None = None, threshold: float = THRESHOLD
) -> list[tuple[int, int, float]]:
    """Find pairs of pictures of which one is a trimmed copy of the other.

    Parameters
    ----------
    small : float array of shape [N, 64, 64]
        As :func:`lungcls.data.duplicates.thumbnails` returns them.
    labels : sequence of str, optional
        N class names. When given, two images are compared only if they have the same one.
    threshold : float
        Similarity from which two pictures are copies.

    Returns
    -------
    list of (int, int, float)
        Positions `i < j` and their similarity in [-1, 1], the most similar first. Copies that are not trimmed
        are among them.

    Notes
    -----
    Time grows with the square of N: it is that of some eighty searches for whole copies.
    """
    return _matched(small, labels, threshold, 0)


def cropped_from(small: Floats, others: Floats, labels: Sequence[str] | None = None) -> NDArray[np.bool_]:
    """Tell which pictures are trimmed copies of others, or others of them.

    Parameters
    ----------
    small : float array of shape [N, 64, 64]
        As :func:`lungcls.data.duplicates.thumbnails` returns them.
    others : float array of shape [M, 64, 64]
    labels : sequence of str, optional
        N + M class names. When given, two images are compared only if they have the same one.

    Returns
    -------
    bool array of shape [N]

    Notes
    -----
    Time grows with N times M: pictures of one set are not compared with each other.
    """
    copied = np.zeros(len(small), np.bool_)
    if len(small) and len(others):
        for first, _, _ in _matched(np.concatenate([small, others]), labels, THRESHOLD, len(small)):
            copied[first] = True
    return copied


def _matched(
    small: Floats, labels: Sequence[str] | None, threshold: float, apart: int
) -> list[tuple[int, int, float]]:
    """As :func:`match_crops`; pairs of a picture before `apart` and one after it alone, unless it is 0."""
    if len(small) < 2:
        return []
    codes = None if labels is None else np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]
    whole, cut, boxes = _candidates(small, codes, apart)
    logger.debug("%d pictures: %d pairs are fitted", len(small), len(whole))
    fine, details = _high_pass(small, _SIGMA), _details(small)
    best: dict[tuple[int, int], float] = {}
    for start in range(0, len(whole), 256):
        here = slice(start, start + 256)
        for first, second, value in _compare(fine, details, whole[here], cut[here], boxes[here]):
            if value >= threshold:
                pair = (min(first, second), max(first, second))
                best[pair] = max(value, best.get(pair, -1.0))
    matches = [(*pair, min(value, 1.0)) for pair, value in best.items()]
    return sorted(matches, key=lambda pair: (-pair[2], pair[0], pair[1]))


def _candidates(small: Floats, codes: Integers | None, apart: int) -> tuple[Integers, Integers, Floats]:
    """Return for pairs worth a fit the whole picture, the trimmed one, and the best cut of the first."""
    plain = _features(small, (0.0, 0.0, 0.0, 0.0))
    values, vectors = np.linalg.eigh(plain.T @ plain)
    basis = np.ascontiguousarray(vectors[:, np.argsort(values)[::-1][:_COMPONENTS]])
    trimmed = _projected(plain, basis)
    best: dict[tuple[int, int], tuple[float, tuple[float, ...]]] = {}
    for box in itertools.product(_CUTS, repeat=4):
        if not any(box):
            continue
        cuts = _projected(_features(small, box), basis)
        for first, second, correlation in _above(cuts, trimmed, codes, apart):
            for one, other, value in zip(first.tolist(), second.tolist(), correlation.tolist()):
                if value > best.get((one, other), (0.0,))[0]:
                    best[one, other] = (value, box)
    pairs = np.asarray(list(best), np.intp).reshape(-1, 2)
    boxes = np.asarray([box for _, box in best.values()], np.float32).reshape(-1, 4)
    return pairs[:, 0], pairs[:, 1], boxes


def _above(
    cuts: Floats, trimmed: Floats, codes: Integers | None, apart: int, block: int = 1024
) -> Iterator[tuple[Integers, Integers, Floats]]:
    count = len(cuts)
    sides = [(0, apart, apart, count), (apart, count, 0, apart)] if apart else [(0, count, 0, count)]
    for top, bottom, left, right in sides:
        for start in range(top, bottom, block):
            correlations = cuts[start : min(start + block, bottom)] @ trimmed[left:right].T
            rows, columns = np.nonzero(correlations >= _CANDIDATE)
            found, rows, columns = correlations[rows, columns], start + rows, left + columns
            keep = rows != columns
            if codes is not None:
                keep &= codes[rows] == codes[columns]
            yield rows[keep], columns[keep], found[keep]


def _features(small: Floats, box: tuple[float, ...]) -> Floats:
    """Return the cut `box` (left, top, right, bottom, as shares) of all pictures, high-passed, norm 1."""
    left, top, right, bottom = (share * SIZE for share in box)
    across = _sampling(_line((SIZE - left - right) / _COARSE, left, _COARSE))
    down = _sampling(_line((SIZE - top - bottom) / _COARSE, top, _COARSE))
    cut = _high_pass(np.asarray(down @ small @ across.T, np.float32), _SIGMA)
    flat = cut.reshape(len(small), -1)
    return _unit(flat - flat.mean(1, keepdims=True))


def _projected(features: Floats, basis: Floats) -> Floats:
    return _unit(features @ basis)


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    # A flat picture becomes zeros, which are like nothing.
    return np.asarray(np.where(norms > 1e-3, rows / np.maximum(norms, 1e-9), 0.0), np.float32)


def _line(zoom: float, start: float, count: int) -> Floats:
    """Return where the middles of `count` pixels lie that begin at `start` and are `zoom` wide."""
    return np.asarray(start + zoom * (np.arange(count) + 0.5) - 0.5, np.float32)


def _sampling(places: Floats) -> Floats:
    """Return weights [..., n, 64] that interpolate a line of 64 pixels at `places` [..., n]."""
    distance = np.abs(places[..., None] - np.arange(SIZE, dtype=np.float32))
    return np.asarray(np.maximum(0, 1 - distance), np.float32)


def _high_pass(images: Floats, sigma: float) -> Floats:
    return images - gaussian_filter(images, (0, sigma, sigma))


def _details(small: Floats) -> Floats:
    """Return the finest structures, of which none outweighs the rest as letters and black borders would."""
    result = _high_pass(small, _DETAIL)
    spread = np.median(np.abs(result), (1, 2), keepdims=True) / np.float32(0.6745)
    return np.clip(result, -2 * spread, 2 * spread)


def _compare(
    fine: Floats, details: Floats, whole: Integers, cut: Integers, boxes: Floats
) -> Iterator[tuple[int, int, float]]:
    """Yield the positions of pairs whose fit succeeds, and how alike their details are."""
    left, top, right, bottom = (boxes * SIZE).T
    zoom_x, zoom_y = 1 - (left + right) / SIZE, 1 - (top + bottom) / SIZE
    # Pixel x of the trimmed picture lies at zoom_x * x + shift_x of the whole one; y likewise.
    fit = np.stack([zoom_x, left + (zoom_x - 1) / 2, zoom_y, top + (zoom_y - 1) / 2], 1).astype(np.float32)
    fit, value = _fitted(fine[whole], fine[cut], fit, _FIRST_STEPS)
    keep = value >= _PROMISING
    whole, cut, fit = whole[keep], cut[keep], fit[keep]
    if len(whole):
        fit, _ = _fitted(fine[whole], fine[cut], fit, _STEPS)
        yield from zip(whole.tolist(), cut.tolist(), _alike(details[whole], details[cut], fit).tolist())


def _fitted(whole: Floats, cut: Floats, fit: Floats, steps: int) -> tuple[Floats, Floats]:
    """Move the edges of the cut to where the two agree best; return them and the correlation there."""
    best, highest = fit.copy(), _alike(whole, cut, fit)
    pixels = np.arange(SIZE, dtype=np.float32)
    unit = np.asarray([1 / SIZE, 1, 1 / SIZE, 1], np.float32)  # so that all four numbers count alike
    for _ in range(steps):
        seen, valid = _warped(whole, fit)
        ours, length = _standardised(seen, valid)
        theirs, _ = _standardised(cut, valid)
        slope_y, slope_x = np.gradient(seen, axis=(1, 2))
        slope_x *= valid / fit[:, 0, None, None]
        slope_y *= valid / fit[:, 2, None, None]
        slopes = np.stack([slope_x * pixels, slope_x, slope_y * pixels[:, None], slope_y], -1)
        slopes = slopes.reshape(len(fit), -1, 4) * (unit / length[:, None])[:, None, :]
        flat = ours.reshape(len(fit), -1)
        # Brightness and contrast are free: what only scales the picture is no progress.
        slopes -= flat[:, :, None] * np.einsum("pn,pnk->pk", flat, slopes)[:, None, :]
        normal = np.einsum("pni,pnj->pij", slopes, slopes) + 1e-4 * np.eye(4, dtype=np.float32)
        rest = np.einsum("pni,pn->pi", slopes, (theirs - ours).reshape(len(fit), -1))
        step = np.linalg.solve(normal, rest[:, :, None])[:, :, 0] * unit
        limit = np.asarray([0.04, 1.5, 0.04, 1.5], np.float32)
        fit = np.asarray(fit + np.clip(step, -limit, limit), np.float32)
        fit[:, [0, 2]] = np.clip(fit[:, [0, 2]], *_ZOOM)
        value = _alike(whole, cut, fit)
        better = value > highest
        best[better], highest[better] = fit[better], value[better]
    return best, highest


def _warped(whole: Floats, fit: Floats) -> tuple[Floats, Floats]:
    """Return what each fit shows of the whole picture [P, 64, 64], and 1 where that is inside it."""
    pixels = np.arange(SIZE, dtype=np.float32)
    across, down = (fit[:, at, None] * pixels + fit[:, at + 1, None] for at in (0, 2))
    inside = [((line >= -0.5) & (line <= SIZE - 0.5)).astype(np.float32) for line in (across, down)]
    seen = _sampling(down) @ whole @ _sampling(across).transpose(0, 2, 1)
    return seen, inside[1][:, :, None] * inside[0][:, None, :]


def _standardised(images: Floats, valid: Floats) -> tuple[Floats, NDArray[np.float32]]:
    """Bring the valid part of each image to mean 0 and norm 1; return the norms too."""
    count = np.maximum(valid.sum((1, 2)), 1)
    centred = (images - ((images * valid).sum((1, 2)) / count)[:, None, None]) * valid
    length = np.sqrt(np.einsum("pij,pij->p", centred, centred)) + np.float32(1e-9)
    return centred / length[:, None, None], length


def _alike(whole: Floats, cut: Floats, fit: Floats) -> Floats:
    seen, valid = _warped(whole, fit)
    ours, _ = _standardised(seen, valid)
    theirs, _ = _standardised(cut, valid)
    return np.asarray(np.einsum("pij,pij->p", ours, theirs), np.float32)
