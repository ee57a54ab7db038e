"""Is the lung mask one that the rest can be trusted on?

The limits were set with 6,390 true masks of frontal films in sight, most just beyond their extremes, those of
border and tilt inside of them. ``scripts/mask_statistics.py`` measures masks of the training part, and apart
from them those that the limits can be judged on; it writes ``benchmarks/results/mask_statistics.json``.
"""

from __future__ import annotations

import math
from typing import Any, Final, cast

import cc3d
import numpy as np
import numpy.typing as npt

from lungcls.quality.values import Quality
from lungcls.reasons import Reason
from lungcls.regions import Box, Mask, lung_box, resize_mask

MIN_AREA: Final = 0.03
"""A mask that covers less of the image than this holds no lungs. The smallest true one covers 4.5%."""

MIN_BALANCE: Final = 0.15
"""A second part smaller than this share of the first is no lung. The smallest true one has 0.27."""

MIN_MERGED_WIDTH: Final = 0.8
"""One connected part at least this wide for its height is two lungs that touch, not one lung. Among the true
masks 0.8% of the single lungs are wider than that, and 1.9% of the pairs narrower."""

MAX_AREA: Final = 0.65
"""Lungs leave more of the image free than a mask that covers more than this."""

MAX_BORDER: Final = 1.3
"""Length of the mask along the image's border over the square root of its area: lungs that lie more against
the border go on beyond it."""

MIN_COMPACTNESS: Final = 0.11
"""16 times the area over the squared length of the outline along the pixels' edges, 1 for a square: less is a
ragged or torn mask."""

MAX_TILT: Final = 30.0
"""Angle in degrees between the horizontal and the line that joins the lungs' centres."""

MIN_SYMMETRY: Final = 0.25
"""Dice of the mask and its mirror image about the middle between the lungs."""

MIN_AGREEMENT: Final = 0.75
"""Dice of the masks that a somewhat lower and a somewhat higher threshold of the segmenter's probability
would have given (:meth:`lungcls.segmenter.Segmenter.segment_with_agreement`)."""

_SIDE: Final = 128


def mask_quality(mask: Mask, agreement: float | None = None, aspect: float = 1.0) -> Quality:
    """Measure a lung mask.

    Parameters
    ----------
    mask : bool array [H, W]
    agreement : float, optional
        How well masks by somewhat other thresholds agree, in [0, 1], where that is known.
    aspect : float, default=1
        Height of a pixel over its width: shapes are judged as they are on the film.

    Returns
    -------
    Quality
        Without ``no_lungs`` and ``one_lung`` among the reasons, both lungs were found, and a region can be
        cut; all other reasons say that the lungs found are not to be trusted.
    """
    area = float(mask.mean())
    # None of what follows asks for more detail, and a film has a thousand times the pixels.
    step = max(1, min(mask.shape) // _SIDE)
    small = mask[::step, ::step]
    small = resize_mask(small, (max(1, round(small.shape[0] * aspect)), small.shape[1]))
    if area < MIN_AREA or not small.any():
        reason = Reason("no_lungs", area, MIN_AREA, f"the lung mask covers {area:.1%} of the image")
        return Quality(area, 0, 0.0, (reason,))
    labels = cc3d.connected_components(small, connectivity=4)
    areas = np.bincount(labels.ravel())[1:]
    largest = np.argsort(-areas, kind="stable")[:2]
    balance = float(areas[largest[1]] / areas[largest[0]]) if largest.size > 1 else 0.0
    if balance < MIN_BALANCE:
        x0, y0, x1, y1 = cast(Box, lung_box(labels == largest[0] + 1))
        if (x1 - x0) / (y1 - y0) < MIN_MERGED_WIDTH:
            message = f"only one lung was found: the second part has {balance:.1%} of its area"
            return Quality(area, 1, balance, (Reason("one_lung", balance, MIN_BALANCE, message),))
        balance, largest = 1.0, largest[:1]
    values = {**_shape(small), **_symmetry(small, labels, (largest + 1).tolist())}
    if agreement is not None:
        values["agreement"] = agreement
    return Quality(area, 2, balance, _reasons(values, area), values=values)


def _reasons(values: dict[str, float], area: float) -> tuple[Reason, ...]:
    most = (
        ("mask_too_large", area, MAX_AREA, f"the lung mask covers {area:.0%} of the image"),
        ("cut_off", values["border"], MAX_BORDER, "the lungs reach beyond the border of the image"),
        ("tilted", values["tilt"], MAX_TILT, f"one lung lies {values['tilt']:.0f} degrees above the other"),
    )
    least = (
        ("ragged_mask", values["compactness"], MIN_COMPACTNESS, "the lung mask is ragged"),
        ("asymmetric", values["symmetry"], MIN_SYMMETRY, "the two lungs are unlike each other"),
        ("unsure_mask", values.get("agreement", 1.0), MIN_AGREEMENT, "the outline of the lungs is not clear"),
    )
    return (
        *(Reason(*limit) for limit in most if limit[1] > limit[2]),
        *(Reason(*limit) for limit in least if limit[1] < limit[2]),
    )


def _shape(mask: Mask) -> dict[str, float]:
    border = sum(int(line.sum()) for line in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    inner = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    pixels = np.count_nonzero(mask)
    return {
        "border": border / math.sqrt(pixels),
        "compactness": 16 * pixels / max(1, border + inner) ** 2,
    }


def _symmetry(mask: Mask, labels: npt.NDArray[Any], lungs: list[int]) -> dict[str, float]:
    centres = np.array([np.argwhere(labels == lung).mean(axis=0) for lung in lungs])
    down, across = np.abs(centres[0] - centres[-1])
    tilt = math.degrees(math.atan2(down, across)) if len(lungs) > 1 else 0.0
    width = mask.shape[1]
    mirrored = round(2 * float(centres[:, 1].mean())) - np.arange(width)
    inside = (mirrored >= 0) & (mirrored < width)
    shared = np.count_nonzero(mask[:, inside] & mask[:, mirrored[inside]])
    return {"tilt": tilt, "symmetry": shared / np.count_nonzero(mask)}
