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


class MonotoneCurve(A.ImageOnlyTransform):  # type: ignore[misc]
    """Bend the grey levels along a chance curve that rises everywhere: black and white stay what they are.

    What scanners, look-up tables, gamma and hands on a slider do to a film keeps the order of its grey
    levels, and nothing else of them.

    Parameters
    ----------
    strength : float, default=0.7
        How far the curve goes from the diagonal, in [0, 1].
    knots : int, default=6
        Pieces of the curve.
    p : float, default=0.5
    """

    def __init__(self, strength: float = 0.7, knots: int = 6, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength, self.knots = strength, knots

    def get_params(self) -> dict[str, Any]:
        rises = self.random_generator.dirichlet(np.full(self.knots, 1.5))
        chance = np.concatenate([[0.0], np.cumsum(rises)])
        even = np.linspace(0, 1, self.knots + 1)
        curve = (1 - self.strength) * even + self.strength * chance
        levels = np.interp(np.linspace(0, 1, 256), even, curve)
        return {"levels": np.rint(255 * levels).astype(np.uint8)}

    def apply(self, img: npt.NDArray[np.uint8], levels: npt.NDArray[np.uint8], **params: Any) -> Any:
        return cv2.LUT(img, levels)


class LungOcclusion(A.ImageOnlyTransform):  # type: ignore[misc]
    """Paint consolidation or effusion into a lung; the mask stays whole, as the lung does.

    A network that learnt where lungs are from dark lungs alone cuts out what is white in them. A patch of
    chance outline, or the lower part of a lung below a sloping level, gets the grey of what surrounds lungs.

    Parameters
    ----------
    p : float, default=0.3
    """

    def __init__(self, p: float = 0.3) -> None:
        super().__init__(p=p)

    @property
    def targets_as_params(self) -> list[str]:
        return ["image", "mask"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        image, lungs = data["image"], data["mask"] > 127
        rows, columns = np.nonzero(lungs)
        if len(rows) < 20:
            return {"cover": np.zeros(lungs.shape, np.float32), "grey": 0.0}
        draw = self.random_generator
        # One lung of the two: that of a chance pixel's half.
        middle = columns.mean()
        index = draw.integers(len(rows))
        side = (columns > middle) == (columns[index] > middle)
        y, x = np.mgrid[: lungs.shape[0], : lungs.shape[1]].astype(np.float32)
        height = max(4.0, float(np.ptp(rows[side])))
        if draw.random() < 0.5:
            spread = height * draw.uniform(0.12, 0.35, 2)
            distance = np.hypot((y - rows[index]) / spread[0], (x - columns[index]) / spread[1])
            cover = 1 / (1 + np.exp(6 * (distance - 1 + 0.5 * _clouds(draw, lungs.shape))))
        else:
            level = rows[side].max() - height * draw.uniform(0.08, 0.5)
            # The level rises towards the chest wall.
            slope = draw.uniform(0, 0.5) * np.sign(columns[index] - middle)
            depth = y - level + slope * (x - columns[side].mean())
            cover = 1 / (1 + np.exp(-depth / (0.03 * height)))
        near = cv2.GaussianBlur(lungs.astype(np.float32), (0, 0), max(0.5, 0.01 * lungs.shape[1]))
        half = np.where(x > middle, columns[index] > middle, columns[index] <= middle)
        outside = image[~lungs]
        grey = float(np.quantile(outside, draw.uniform(0.6, 0.95))) if outside.size else 255.0
        return {"cover": (draw.uniform(0.5, 1) * cover * near * half).astype(np.float32), "grey": grey}

    def apply(
        self, img: npt.NDArray[np.uint8], cover: npt.NDArray[np.float32], grey: float, **params: Any
    ) -> Any:
        # What is darker than the grey becomes it; ribs and hearts stay.
        painted = img + cover * np.maximum(grey - img.astype(np.float32), 0)
        return np.rint(painted).astype(np.uint8)


def _clouds(draw: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Noise in [-1, 1] that changes slowly over an image."""
    coarse = draw.uniform(-1, 1, (6, 6)).astype(np.float32)
    smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, -1, 1).astype(np.float32)


def _resistance() -> list[Any]:
    """What a film meets between the detector and a file: after it an answer should be the same.

    Grey curves that keep the order of levels, sharpness lost and added, resampling, compression, few bits
    and grain.
    """
    return [
        MonotoneCurve(0.7, p=0.6),
        A.OneOf(
            [
                A.GaussianBlur((0, 0), (0.4, 1.6), p=1),
                A.UnsharpMask((3, 5), (0.4, 1.2), (0.3, 0.8), threshold=0, p=1),
                A.Downscale((0.4, 0.9), p=1),
                A.CLAHE((1, 2.5), (8, 8), p=1),
            ],
            p=0.6,
        ),
        A.ImageCompression(quality_range=(30, 95), p=0.25),
        A.Posterize((4, 7), p=0.15),
        A.GaussNoise((0.005, 0.03), p=0.25),
    ]  # fmt: skip


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


def classification_resist() -> list[Any]:
    """For stage 2: little of the geometry changes, and all that a file may do to a film's grey levels."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(scale=(0.85, 1.15), translate_percent=(-0.05, 0.05), rotate=(-8, 8), p=0.8),
        *_resistance(),
    ]  # fmt: skip


def segmentation_resist() -> list[Any]:
    """For stage 1: as the light one, with lungs that are partly white, and what a file does to a film."""
    return [
        A.Affine(scale=(0.85, 1.15), translate_percent=(-0.06, 0.06), rotate=(-10, 10), shear=(-3, 3), p=0.7),
        LungOcclusion(p=0.35),
        *_resistance(),
        A.CoarseDropout((1, 3), (0.05, 0.15), (0.05, 0.15), fill="random_uniform", p=0.1),
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
    "classification-resist": classification_resist,
    "segmentation-resist": segmentation_resist,
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
