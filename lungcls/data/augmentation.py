"""Augmentation by name, for training only; albumentations moves image and mask together.

What comes into view from outside is black, as around the lungs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# albumentations asks the network for its newest version when it is imported, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2

from lungcls.errors import OptionError


def _appearance(strength: float) -> list[Any]:
    """What scanners, windowing and copying do to a film: grey levels, sharpness, noise, compression.

    `strength` scales how often each happens, not how far it goes: the extremes must be seen all the same.
    """
    return [
        A.OneOf(
            [
                A.RandomGamma((50, 180), p=1),
                A.RandomBrightnessContrast((-0.25, 0.25), (-0.4, 0.4), p=1),
                A.AutoContrast(p=1),
                A.CLAHE((1, 3), (8, 8), p=1),
            ],
            p=0.8 * strength,
        ),
        A.OneOf(
            [
                A.GaussianBlur((0, 0), (0.3, 1.5), p=1),
                A.Downscale((0.4, 0.9), p=1),
                A.Sharpen((0.1, 0.4), p=1),
            ],
            p=0.4 * strength,
        ),
        A.GaussNoise((0.01, 0.04), p=0.3 * strength),
        A.ImageCompression(quality_range=(30, 95), p=0.3 * strength),
    ]


def segmentation() -> list[Any]:
    """For stage 1: strong, since foreign scanners are met by augmentation and not by training on them."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(scale=(0.75, 1.25), translate_percent=(-0.1, 0.1), rotate=(-15, 15), shear=(-6, 6), p=0.9),
        A.ElasticTransform(alpha=30, sigma=6, p=0.2),
        *_appearance(1.0),
        # The image loses a patch, the mask keeps it: lungs go on behind pacemakers, letters and collimators.
        A.CoarseDropout((1, 4), (0.05, 0.2), (0.05, 0.2), fill="random_uniform", p=0.3),
    ]  # fmt: skip


def segmentation_light() -> list[Any]:
    """For stage 1's last epochs: nearer to the films as they are, where the outline is learnt exactly.

    Nothing is mirrored: where the mask ends beside the heart is not the same on both sides.
    """
    return [
        A.Affine(scale=(0.85, 1.15), translate_percent=(-0.06, 0.06), rotate=(-10, 10), shear=(-3, 3), p=0.7),
        *_appearance(0.6),
        A.CoarseDropout((1, 3), (0.05, 0.15), (0.05, 0.15), fill="random_uniform", p=0.1),
    ]  # fmt: skip


def classification() -> list[Any]:
    """For stage 2: moderate in all, for schedules of ten epochs rather than a hundred."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(scale=(0.85, 1.2), translate_percent=(-0.08, 0.08), rotate=(-12, 12), shear=(-4, 4), p=0.9),
        *_appearance(0.7),
        A.CoarseDropout((1, 4), (0.08, 0.25), (0.08, 0.25), fill=0, p=0.25),
    ]  # fmt: skip


def classification_light() -> list[Any]:
    """For stage 2's last epochs, and for schedules too short to learn through strong changes."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(scale=(0.9, 1.12), translate_percent=(-0.05, 0.05), rotate=(-8, 8), p=0.6),
        *_appearance(0.35),
    ]  # fmt: skip


def classification_shape() -> list[Any]:
    """For lungs shown alone: as the light one, but what width and height are to each other changes widely.

    The lungs' box of a child is narrower than that of an adult, and in the public data all of one class are
    children: a network that leans on the box tells the age.
    """
    return [
        A.HorizontalFlip(p=0.5),
        # Width and height are scaled each on its own.
        A.Affine(scale=(0.78, 1.15), translate_percent=(-0.05, 0.05), rotate=(-8, 8), p=0.8),
        *_appearance(0.35),
    ]  # fmt: skip


def none() -> list[Any]:
    """No augmentation at all, for comparisons."""
    return []


AUGMENTATIONS: Final[dict[str, Callable[[], list[Any]]]] = {
    "segmentation": segmentation,
    "segmentation-light": segmentation_light,
    "classification": classification,
    "classification-light": classification_light,
    "classification-shape": classification_shape,
    "none": none,
}
"""Augmentations by the name that a recipe gives."""


class Augment:
    """An augmentation whose result depends only on a seed, never on the order of calls or the worker.

    Parameters
    ----------
    name : str
        A key of :data:`AUGMENTATIONS`.

    Raises
    ------
    ValueError
        If the name is not known.
    """

    def __init__(self, name: str) -> None:
        if name not in AUGMENTATIONS:
            raise OptionError(f"unknown augmentation {name!r}; known are {', '.join(AUGMENTATIONS)}")
        # A mask may hold shares of pixels, which the nearest pixel would round.
        self._compose = A.Compose(AUGMENTATIONS[name](), mask_interpolation=cv2.INTER_LINEAR)

    def __call__(
        self, view: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8] | None, seed: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None]:
        """Augment one view and, in the same way, its mask.

        Parameters
        ----------
        view : uint8 array [S, S]
        mask : uint8 array [S, S] or None
        seed : int

        Returns
        -------
        view, mask
            As given, augmented.
        """
        # Not set_random_seed, which starts every part from the same number: what a part draws would then
        # follow from what the others drew, and an image in eight would not be changed at all.
        self._compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        # Some parts of the library work in place, and the view belongs to a dataset that is kept in memory.
        view = view.copy()
        if mask is None:
            return self._compose(image=view)["image"], None
        result = self._compose(image=view, mask=mask.copy())
        return result["image"], result["mask"]
