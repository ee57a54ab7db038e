"""How much of a map lies inside the lungs, in each lung and in each zone, beside what chance would give."""

from __future__ import annotations

import math

import numpy as np

from lungcls.explanation.frame import Frame, Grid
from lungcls.quality.pair import pair_of_lungs
from lungcls.regions import Mask, Pixels, lung_box

PARTS = ("lungs", "image_left", "image_right", "upper", "middle", "lower")
"""The parts that shares are given for. ``image_left`` is the lung on the left of the picture: the patient's
right lung in the usual display of a frontal film."""


def energy_share(cam: Pixels, part: Mask) -> float:
    """Return the share of a map's sum that lies inside `part`.

    Parameters
    ----------
    cam : float array [H, W], nowhere negative
    part : bool array [H, W]

    Returns
    -------
    float
        In [0, 1]; nan where the map is 0 everywhere.

    References
    ----------
    Wang et al.: Score-CAM, 2020 (the "energy-based pointing game").
    """
    total = float(cam.sum(dtype=np.float64))
    return float(cam.sum(dtype=np.float64, where=part)) / total if total > 0 else math.nan


def attention_shares(grid: Grid, frame: Frame, mask: Mask) -> dict[str, float]:
    """Measure where a map lies.

    Parameters
    ----------
    grid : float32 array [h, w], nowhere negative
        The map, as :func:`lungcls.explanation.attribution_maps` gives it.
    frame : Frame
        Where the map lies on the image.
    mask : bool array [H, W]
        The lungs.

    Returns
    -------
    dict of str to float
        For each of :data:`PARTS` the share of the map inside it (nan where the map is empty),
        ``<part>_chance`` (of an even map over what the network saw), ``<part>_ceiling`` (the most that a map
        of this resolution can have) and ``<part>_matched`` (of a map that marks the part as well as this
        resolution allows); and ``padding``, the share of the map on the letterbox's bars, outside the image.
        The two lungs add up to ``lungs``, and so do the three zones.
    """
    cam = frame.to_image(grid)
    shares, beside = {}, {}
    for name, part in lung_parts(mask).items():
        shares[name] = energy_share(cam, part)
        beside[f"{name}_chance"] = frame.chance(part)
        limits = frame.limits((grid.shape[0], grid.shape[1]), part)
        beside[f"{name}_ceiling"], beside[f"{name}_matched"] = limits
    return {**shares, "padding": frame.padding_share(grid), **beside}


def lung_parts(mask: Mask) -> dict[str, Mask]:
    """Divide a lung mask by side and by height.

    Parameters
    ----------
    mask : bool array [H, W]

    Returns
    -------
    dict of str to bool array [H, W]
        ``lungs`` (the mask), ``image_left`` and ``image_right`` (each lung, named by the side of the
        picture), ``upper``, ``middle`` and ``lower`` (thirds of the height of the lungs' bounding box).
    """
    left = _left_lung(mask)
    parts = {"lungs": mask, "image_left": left, "image_right": mask & ~left}
    box = lung_box(mask)
    top, bottom = (box[1], box[3]) if box else (0, 0)
    first, second = (round(top + (bottom - top) * third / 3) for third in (1, 2))
    for name, (start, end) in {
        "upper": (top, first),
        "middle": (first, second),
        "lower": (second, bottom),
    }.items():
        zone = np.zeros_like(mask)
        zone[start:end] = mask[start:end]
        parts[name] = zone
    return parts


def _left_lung(mask: Mask) -> Mask:
    """The part of the mask that belongs to the lung on the left of the picture."""
    box = lung_box(mask)
    if box is None:
        return mask
    pair = pair_of_lungs(mask)
    if pair is not None:
        return pair.first
    if (box[2] - box[0]) * 2 < mask.shape[1]:  # narrower than half of the picture: one lung, on its own side
        middle = (box[0] + box[2]) / 2
        return mask if middle < mask.shape[1] / 2 else np.zeros_like(mask)
    # Two lungs that touch too much to be told apart are divided in the thinnest column of the middle third.
    third = (box[2] - box[0]) // 3
    heights = mask[:, box[0] + third : box[2] - third].sum(axis=0)
    thinnest = np.flatnonzero(heights == heights.min())
    cut = box[0] + third + int(thinnest[len(thinnest) // 2])
    return mask & (np.arange(mask.shape[1]) < cut)
