"""Which part of a mask is which lung; lungs that touch are separated where they touch least.

Lungs that touch are worn away from their edges until they fall into two parts beside each other, and these
grow back by a watershed on the distance to the edge, so that they meet at the narrowest place (Beucher and
Lantuejoul: Use of watersheds in contour detection, 1979). A single lung does not fall apart sideways.
``benchmarks/sides.py`` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import watershed

from lungcls.quality.mask import MIN_BALANCE
from lungcls.regions import Mask

MAX_CONTACT: Final = 0.2
"""Lungs that touch over more than this share of the lower one's height are not separated: where one ends and
the other begins is no longer told by the outline."""

BESIDE: Final = 0.5
"""Least share of the line between two parts' centres that runs across the patient, for two lungs."""

_SIDE: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class LungPair:
    """Two lungs; together they are the whole mask, and no pixel is in both.

    Attributes
    ----------
    first, second : bool array [H, W]
        `first` has its centre further to the image's left.
    contact : (int, int) or None
        Rows of the image, end exclusive, in which the lungs touched before they were separated.
    """

    first: Mask
    second: Mask
    contact: tuple[int, int] | None = None


def pair_of_lungs(mask: Mask, axis: int = 1) -> LungPair | None:
    """Divide a mask into two lungs.

    Parameters
    ----------
    mask : bool array [H, W]
    axis : {0, 1}, default=1
        Along which the lungs lie beside each other: 1 along the rows of the image, as on upright films.

    Returns
    -------
    LungPair or None
        None for an empty mask, a single lung, and lungs that touch over more than :data:`MAX_CONTACT`.
    """
    labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=4)
    areas, beside = _areas(labels, axis)
    if areas.size > 1:
        largest, second = (np.argsort(-areas, kind="stable")[:2] + 1).tolist()
        # A lung may be in several parts: those above each other are of one, where there is another beside.
        for other in dict.fromkeys([int(beside.argmax()) + 1 if beside.any() else second, second]):
            one, two = _joined(labels, largest, other)
            if min(one.sum(), two.sum()) >= MIN_BALANCE * max(one.sum(), two.sum()):
                return _ordered(one, two)
    return _separated(mask, axis)


def _separated(mask: Mask, axis: int) -> LungPair | None:
    # A film has a hundred times the pixels that the outline of a lung asks for.
    step = max(1, min(mask.shape) // _SIDE)
    small = mask[::step, ::step]
    depth = ndimage.distance_transform_edt(np.pad(small, 1))[1:-1, 1:-1]
    for level in range(int(depth.max())):
        cores = cc3d.connected_components(depth > level, connectivity=4)
        areas, beside = _areas(cores, axis)
        if beside.max() >= MIN_BALANCE * areas.max():
            break
    else:
        return None
    markers = np.select([cores == areas.argmax() + 1, cores == beside.argmax() + 1], [1, 2])
    lungs = watershed(-depth, markers, mask=small)
    edge = ndimage.binary_dilation(lungs == 1) & (lungs == 2)
    height = min(np.count_nonzero((lungs == lung).any(axis=axis)) for lung in (1, 2))
    if np.count_nonzero(edge) > MAX_CONTACT * height:
        return None
    nearest = ndimage.distance_transform_edt(lungs == 0, return_distances=False, return_indices=True)
    rows, columns = (np.minimum(np.arange(n) // step, m - 1) for n, m in zip(mask.shape, small.shape))
    whole = lungs[tuple(nearest)][np.ix_(rows, columns)]
    pair = _ordered(mask & (whole == 1), mask & (whole == 2))
    touching = np.flatnonzero((ndimage.binary_dilation(pair.first) & pair.second).any(axis=1))
    contact = (int(touching[0]), int(touching[-1]) + 1) if touching.size else None
    return LungPair(pair.first, pair.second, contact)


def _areas(labels: npt.NDArray[Any], axis: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Area of each part; and again, with 0 for those that do not lie beside the largest along `axis`."""
    found = cc3d.statistics(labels)
    areas, centres = found["voxel_counts"][1:].astype(np.int64), found["centroids"][1:]
    if not areas.size:
        return areas, areas
    offset = np.abs(centres - centres[areas.argmax()])
    return areas, np.where(offset[:, axis] > BESIDE * np.hypot(*offset.T), areas, 0)


def _joined(labels: npt.NDArray[Any], first: int, second: int) -> tuple[Mask, Mask]:
    """Give each other part to the nearer of two, so that nothing of the mask is lost."""
    one, two = labels == first, labels == second
    if labels.max() > 2:
        nearer_two = ndimage.distance_transform_edt(~two) < ndimage.distance_transform_edt(~one)
        rest = (labels > 0) & ~one & ~two
        for label in np.unique(labels[rest]):
            piece = labels == label
            target = two if nearer_two[piece].mean() > 0.5 else one
            target |= piece
    return one, two


def _ordered(one: Mask, two: Mask) -> LungPair:
    columns = [float(np.nonzero(lung)[1].mean()) for lung in (one, two)]
    return LungPair(one, two) if columns[0] <= columns[1] else LungPair(two, one)
