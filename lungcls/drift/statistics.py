"""A few numbers of each film: what was answered, its tone as the network saw it, and how the lungs lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lungcls.prediction import Prediction
from lungcls.regions import View

TONE: Final = ("grey_mean", "grey_sd", "grey_low", "grey_high", "sharpness")
"""Of the pixels that the network saw: mean, standard deviation, percentiles 5 and 95, in [0, 1]; and the mean
absolute difference of neighbours over the standard deviation."""

GEOMETRY: Final = (
    "film_aspect",
    "lung_area",
    "lung_balance",
    "lung_width",
    "lung_height",
    "lung_x",
    "lung_y",
    "lung_symmetry",
    "lung_compactness",
    "mask_agreement",
)
"""Width of the film over its height; share of the film that is lung; smaller lung over larger; width, height
and centre of the lungs' box as shares of the film's; and three measures of :mod:`lungcls.quality`."""


def film_statistics(prediction: Prediction) -> dict[str, float]:
    """Return :data:`TONE` and :data:`GEOMETRY` of one film.

    Parameters
    ----------
    found : Prediction

    Returns
    -------
    dict of str to float
        nan where a film has no such number, such as the place of lungs that were not found.
    """
    return {**_tone(prediction.view), **_geometry(prediction)}


def _tone(view: View) -> dict[str, float]:
    grey = view.astype(np.float64) / 255
    shown = view > 0  # what a region leaves out is black
    if not shown.any():
        return dict.fromkeys(TONE, np.nan)
    values = grey[shown]
    low, high = np.percentile(values, (5, 95))
    spread = float(values.std())
    beside = shown[:, 1:] & shown[:, :-1]
    steps = np.abs(np.diff(grey, axis=1))[beside]
    sharpness = float(steps.mean()) / spread if spread > 0 and steps.size else np.nan
    return dict(zip(TONE, (float(values.mean()), spread, float(low), float(high), sharpness)))


def _geometry(prediction: Prediction) -> dict[str, float]:
    height, width = prediction.lungs.mask.shape
    quality = prediction.quality
    numbers = dict.fromkeys(GEOMETRY, np.nan)
    numbers["film_aspect"] = width / (height * prediction.lungs.pixel_aspect)
    if prediction.box is None or not quality.both_lungs:
        return numbers
    x0, y0, x1, y1 = prediction.box
    return {
        **numbers,
        "lung_area": quality.mask_area,
        "lung_balance": quality.balance,
        "lung_width": (x1 - x0) / width,
        "lung_height": (y1 - y0) / height,
        "lung_x": (x0 + x1) / 2 / width,
        "lung_y": (y0 + y1) / 2 / height,
        "lung_symmetry": quality.values.get("symmetry", np.nan),
        "lung_compactness": quality.values.get("compactness", np.nan),
        "mask_agreement": quality.values.get("agreement", np.nan),
    }


def as_columns(rows: list[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    """Return rows of numbers as columns [N] by name."""
    return {name: np.asarray([row[name] for row in rows], np.float64) for name in rows[0]} if rows else {}
