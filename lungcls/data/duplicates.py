"""Near-duplicate X-rays, found by comparing small high-passed copies.

Public X-ray collections hold the same picture several times: copied between sets, trimmed, recompressed,
brightened, with an arrow drawn on it. A copy in the training part of a picture in the test part makes a
result look better than it is.

Two pictures are compared in two steps:

1. Thumbnails of 32 x 32 pixels, high-passed (what all chests share is mostly smooth shading) and normalised,
   are correlated, all with all. Most pairs end here.
2. The pairs that are left are compared again at 64 x 64 pixels, one of them shifted to where the two agree
   best. That finds cropped copies, which the first step sees but dimly, and refuses chests that only resemble
   each other.

Not found are mirrored, clearly rotated or strongly cropped copies (of copies trimmed by 2% at each edge two
thirds are found, by 4% few), and images of one patient taken on different days, unless they happen to look
alike: known patients must be kept together by their names.
:mod:`lungcls.data.crops` finds cropped copies, slowly.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lungcls.data.crops import match_crops
from lungcls.data.thumbnails import SIZE, Floats, Integers, thumbnails
from lungcls.errors import DataError, OptionError
from lungcls.files import atomic_write, cache_folder
from lungcls.progress import Progress, quiet

logger = logging.getLogger(__name__)

# Measured on 10,658 images of the COVID-19 Radiography Database whose copies are listed; 551 of those of
# unknown patients have a mate (tests/data/test_duplicates.py repeats it). Share found with a mate, and
# share of all images joined to one that is not listed as a copy: 97.5% and 0.38% at 0.942, 96.9% and 0.28%
# at 0.945, 95.6% and 0.11% at 0.950. Of the 14 pairs behind the 0.28%, 11 are copies to the eye (trimmed,
# mostly), missing from the list.
THRESHOLD = 0.945
"""Similarity from which two images are taken for copies."""

_METHOD = 1  # of the search; another one makes cached results void
_CANDIDATE = 0.86  # coarse correlation from which a pair is looked at again
_DISAGREE = 0.75  # registered correlation below which a pair is refused whatever the coarse one says
_COARSE_SIGMA = 5.0  # in pixels of the 32 x 32 thumbnail
_FINE_SIGMA = 5.0  # in pixels of the 64 x 64 thumbnail
_REACH = 3  # largest shift, in pixels of the 64 x 64 thumbnail
_FLAT = 2e-3  # standard deviation (of grey values in [0, 1]) below which a picture holds nothing to compare


@dataclass(frozen=True, slots=True, eq=False)
class Duplicates:
    """Near duplicates among N images.

    Attributes
    ----------
    clusters : int array of shape [N]
        Cluster of each image, numbered by first appearance. Images joined by a chain of pairs share a
        cluster; an image without a duplicate has a cluster of its own.
    pairs : list of (int, int, float)
        Positions `i < j` of two duplicates and their similarity in [-1, 1], the most similar first.
    """

    clusters: Integers
    pairs: list[tuple[int, int, float]]

    def groups(self) -> list[list[int]]:
        """Positions of the images of every cluster with at least two, in order of first appearance."""
        members: dict[int, list[int]] = {}
        for position, cluster in enumerate(self.clusters.tolist()):
            members.setdefault(cluster, []).append(position)
        return [group for group in members.values() if len(group) > 1]

    def joined(self, pairs: Sequence[tuple[int, int, float]]) -> Duplicates:
        """Return these duplicates and further `pairs` of the same images; known pairs stay as they are."""
        own = {pair[:2] for pair in self.pairs}
        all_pairs = [*self.pairs, *(pair for pair in pairs if pair[:2] not in own)]
        all_pairs.sort(key=lambda pair: (-pair[2], pair[0], pair[1]))
        return Duplicates(join_pairs(len(self.clusters), [pair[:2] for pair in all_pairs]), all_pairs)


def find_near_duplicates(
    paths: Sequence[str | os.PathLike[str]],
    *,
    labels: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
    cache: str | os.PathLike[str] | None = None,
    cropped: bool = False,
    progress: Progress[None] = quiet,
) -> Duplicates:
    """Find images that are copies, or nearly copies, of each other.

    Parameters
    ----------
    paths : sequence of path-like
        N image files.
    labels : sequence of str, optional
        N class names. When given, two images are compared only if they have the same one.
    threshold : float
        Similarity from which two images are duplicates; see `match_thumbnails`.
    cache : path-like, optional
        File for what was found. With it, the same files (by name, size and time) are compared only once. By
        default a file in the user's cache (see :func:`lungcls.files.cache_folder`).
    cropped : bool, default=False
        Look for copies of which a part was cut off, too; see :func:`lungcls.data.crops.match_crops`.
    progress : callable, optional
        As :data:`lungcls.progress.Progress`.

    Returns
    -------
    Duplicates

    Raises
    ------
    lungcls.errors.ImageError
        If a file cannot be read; the message names it.
    lungcls.errors.DataError
        If `cache` is a file of another kind.
    ValueError
        If there are not as many labels as paths, or `threshold` is not in (0.86, 1].
    """
    _check(len(paths), labels, threshold)
    identity = _identity(paths, [list(labels) if labels is not None else None, threshold, cropped])
    place = Path(cache) if cache is not None else cache_folder() / "near-duplicates" / f"{identity}.npz"
    try:
        cached = _read_cache(place, identity)
    except DataError:
        if cache is not None:
            raise
        cached = None  # ours, and damaged: found anew
    if cached is not None:
        return cached
    small = thumbnails(paths, progress=progress)
    pairs = match_thumbnails(small, labels=labels, threshold=threshold)
    if cropped:
        pairs = pairs.joined(match_crops(small, labels=labels))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _write_cache(place, identity, pairs)
    except OSError as error:
        if cache is not None:
            raise
        logger.warning("%s: near duplicates cannot be kept for the next time (%s)", place, error)
    return pairs


def _identity(paths: Sequence[str | os.PathLike[str]], options: list[object]) -> str:
    files = []
    for path in paths:
        try:
            status = os.stat(path)
            files.append((os.path.abspath(path), status.st_size, status.st_mtime_ns))
        except OSError:  # reading the image says why
            files.append((os.path.abspath(path), 0, 0))
    return hashlib.sha256(json.dumps([_METHOD, options, files]).encode()).hexdigest()


def _read_cache(path: Path, identity: str) -> Duplicates | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            if str(stored["identity"]) != identity:
                return None
            pairs = [(int(i), int(j), float(s)) for (i, j), s in zip(stored["pairs"], stored["similarities"])]
            return Duplicates(stored["clusters"].astype(np.intp), pairs)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: not a cache of near duplicates ({error}); name another file, or delete this one"
        ) from error


def _write_cache(path: Path, identity: str, duplicates: Duplicates) -> None:
    with atomic_write(path) as file:
        np.savez(
            file,
            identity=np.asarray(identity),
            clusters=duplicates.clusters,
            pairs=np.asarray([pair[:2] for pair in duplicates.pairs], np.int64).reshape(-1, 2),
            similarities=np.asarray([pair[2] for pair in duplicates.pairs], np.float64),
        )


def copied_from(small: Floats, others: Floats, labels: Sequence[str] | None = None) -> NDArray[np.bool_]:
    """Tell which images have a near duplicate among others.

    Parameters
    ----------
    small : float array of shape [N, 64, 64]
        As `thumbnails` returns them.
    others : float array of shape [M, 64, 64]
    labels : sequence of str, optional
        N + M class names. When given, two images are compared only if they have the same one.

    Returns
    -------
    bool array of shape [N]

    Raises
    ------
    ValueError
        As `match_thumbnails` does.
    """
    copied = np.zeros(len(small), np.bool_)
    for i, j, _ in match_thumbnails(np.concatenate([small, others]), labels=labels).pairs:
        if i < len(small) <= j:
            copied[i] = True
    return copied


def match_thumbnails(
    small: Floats, *, labels: Sequence[str] | None = None, threshold: float = THRESHOLD
) -> Duplicates:
    """Find near duplicates among thumbnails.

    Parameters
    ----------
    small : float array of shape [N, 64, 64]
        As `thumbnails` returns them.
    labels : sequence of str, optional
        N class names. When given, two images are compared only if they have the same one.
    threshold : float
        Similarity from which two images are duplicates. It is the larger of two correlations of high-passed
        thumbnails: 32 x 32 as they lie, and 64 x 64 after the best shift of up to 5% of the side. Pairs whose
        64 x 64 thumbnails disagree (below 0.75) are refused.

    Returns
    -------
    Duplicates
        Exact copies are among them, with similarity 1; flat images (nothing to compare) never are.

    Raises
    ------
    ValueError
        If the shape is another, there are not as many labels as thumbnails, or `threshold` is not in
        (0.86, 1].

    Notes
    -----
    Time grows with the square of N, memory linearly: 21,165 images take about 1 GiB.
    """
    if small.ndim != 3 or small.shape[1:] != (SIZE, SIZE):
        raise ValueError(f"thumbnails have the shape {small.shape}; expected (N, {SIZE}, {SIZE})")
    _check(len(small), labels, threshold)
    count = len(small)
    codes = None if labels is None else np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]

    coarse = small.reshape(count, SIZE // 2, 2, SIZE // 2, 2).mean((2, 4), dtype=np.float32)
    coarse = _normalise(_high_pass(coarse, _COARSE_SIGMA)).reshape(count, (SIZE // 2) ** 2)
    fine = _normalise(_high_pass(small, _FINE_SIGMA))

    matches: list[tuple[int, int, float]] = []
    looked_at = 0
    for first, second, correlation in _candidates(coarse, codes):
        looked_at += len(first)
        registered = _registered_correlation(fine, first, second)
        similarity = np.maximum(correlation, registered)
        keep = (similarity >= threshold) & (registered >= _DISAGREE)
        matches += zip(
            first[keep].tolist(),
            second[keep].tolist(),
            np.minimum(similarity[keep], 1.0).astype(float).tolist(),
            strict=True,
        )
    matches.sort(key=lambda pair: (-pair[2], pair[0], pair[1]))
    logger.debug("%d images: %d pairs looked at twice, %d of them duplicates", count, looked_at, len(matches))
    return Duplicates(join_pairs(count, [pair[:2] for pair in matches]), matches)


def _check(count: int, labels: Sequence[str] | None, threshold: float) -> None:
    if labels is not None and len(labels) != count:
        raise ValueError(f"{len(labels)} labels were given for {count} images")
    if not _CANDIDATE < threshold <= 1.0:
        raise OptionError(f"threshold={threshold!r} is outside ({_CANDIDATE}, 1]")


def _high_pass(images: Floats, sigma: float) -> Floats:
    smooth = np.empty_like(images)
    for position, image in enumerate(images):  # one by one: a filter over the whole stack doubles the memory
        gaussian_filter(image, sigma, output=smooth[position])
    np.subtract(images, smooth, out=smooth)
    return smooth


def _normalise(images: Floats) -> Floats:
    """Bring each image, in place, to mean 0 and norm 1; a flat one to zeros, which correlate with nothing."""
    images -= images.mean((1, 2), keepdims=True)
    norms = np.sqrt(np.einsum("nij,nij->n", images, images))
    flat = norms < _FLAT * images.shape[1]
    norms[flat] = 1.0
    images /= norms[:, None, None]
    images[flat] = 0.0
    return images


def _candidates(
    coarse: Floats, codes: NDArray[np.intp] | None, block: int = 1024
) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Yield the pairs worth a second look, a block of rows at a time, so that memory stays bounded."""
    for start in range(0, len(coarse), block):
        correlations = coarse[start : start + block] @ coarse[start:].T
        rows, columns = np.nonzero(correlations >= _CANDIDATE)
        keep = columns > rows
        if codes is not None:
            keep &= codes[start + rows] == codes[start + columns]
        rows, columns = rows[keep], columns[keep]
        yield start + rows, start + columns, correlations[rows, columns]


def _registered_correlation(fine: Floats, first: Integers, second: Integers, batch: int = 512) -> Floats:
    """Correlate pairs of images, the second shifted by whole pixels to where the two agree best."""
    result = np.empty(len(first), np.float32)
    window = np.sqrt(np.outer(np.hanning(SIZE + 2)[1:-1], np.hanning(SIZE + 2)[1:-1])).astype(np.float32)
    shifts = [(dy, dx) for dy in range(-_REACH, _REACH + 1) for dx in range(-_REACH, _REACH + 1)]
    at = tuple(np.array(shifts).T)
    for start in range(0, len(first), batch):
        here = slice(start, start + batch)
        a, b = fine[first[here]], fine[second[here]]
        spectrum = np.fft.rfft2(a * window) * np.conj(np.fft.rfft2(b * window))
        best = np.fft.irfft2(spectrum, s=(SIZE, SIZE))[:, at[0], at[1]].argmax(1)
        values = np.empty(len(a), np.float32)
        for choice in np.unique(best):
            dy, dx = shifts[choice]
            chosen = best == choice
            values[chosen] = _overlap_correlation(a[chosen], b[chosen], dy, dx)
        result[here] = values
    return result


def _overlap_correlation(a: Floats, b: Floats, dy: int, dx: int) -> Floats:
    """Correlate image stacks over the part that they share once `b` is moved by (dy, dx)."""
    a = a[:, max(0, dy) : SIZE + min(0, dy), max(0, dx) : SIZE + min(0, dx)]
    b = b[:, max(0, -dy) : SIZE + min(0, -dy), max(0, -dx) : SIZE + min(0, -dx)]
    a = a - a.mean((1, 2), keepdims=True)
    b = b - b.mean((1, 2), keepdims=True)
    norms = np.einsum("nij,nij->n", a, a) * np.einsum("nij,nij->n", b, b)
    values: Floats = np.einsum("nij,nij->n", a, b) / np.sqrt(np.maximum(norms, 1e-12))
    return values


def join_pairs(count: int, pairs: Sequence[tuple[int, int]]) -> Integers:
    """Number the connected components of a graph of pairs among `count` positions by first appearance."""
    first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    graph = coo_array((np.ones(len(pairs), np.int8), (first, second)), shape=(count, count))
    components = connected_components(graph, directed=False)[1] if count else np.empty(0, np.int32)
    _, appearance, inverse = np.unique(components, return_index=True, return_inverse=True)
    order = np.empty(len(appearance), np.intp)
    order[np.argsort(appearance)] = np.arange(len(appearance))
    clusters: Integers = order[inverse]
    return clusters
