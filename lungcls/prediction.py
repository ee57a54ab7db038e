"""What the pipeline answers, in plain types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from PIL import Image as PILImage

from lungcls.conformal import in_set
from lungcls.errors import ImageError, LungclsError
from lungcls.images import read_image
from lungcls.labels import NOTICE
from lungcls.quality import Quality
from lungcls.regions import Box, Mask, Pixels, View, stretch

_LUNG_COLOUR = np.array([0.25, 0.75, 1.0], np.float32)
_TINT = 0.25

HIGH: Final = 0.9
"""Confidence from which on a prediction is of the tier ``high``."""

MODERATE: Final = 0.7
"""Confidence from which on a prediction is of the tier ``moderate``; below it is ``low``."""

TIERS: Final = ("high", "moderate", "low")


def confidence_tier(confidence: float) -> str:
    """Return the tier of a calibrated probability: ``high``, ``moderate`` or ``low``."""
    return "high" if confidence >= HIGH else "moderate" if confidence >= MODERATE else "low"


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be read or was refused.

    Attributes
    ----------
    path : str
        Name of the input.
    error : LungclsError
    """

    path: str
    error: LungclsError

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-safe values."""
        return {"path": self.path, "error": str(self.error)}


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The lungs of one image.

    Attributes
    ----------
    path : str
        Path of the image, or what it was, such as ``<array>``.
    lung_mask : bool array [H, W]
        At the image's own size.
    box : (x0, y0, x1, y1) or None
        Bounding box of the mask in original pixels, end exclusive; None where the mask is empty.
    quality : Quality
        What was measured on the mask, and what is wrong with it.
    pixel_spacing : (row, column) or None
        In mm, where the file tells it.
    segmenter : str
        Name of the weights.
    """

    path: str
    lung_mask: Mask
    box: Box | None
    quality: Quality
    pixel_spacing: tuple[float, float] | None
    segmenter: str
    # A path is read again when a picture is wanted, so that a long list of predictions stays small.
    _origin: str | Pixels = field(repr=False)
    _options: dict[str, Any] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the arrays as JSON-safe values."""
        height, width = self.lung_mask.shape
        return {
            "path": self.path,
            "height": height,
            "width": width,
            "pixel_spacing": list(self.pixel_spacing) if self.pixel_spacing else None,
            "box": list(self.box) if self.box else None,
            "quality": self.quality.to_dict(),
            "segmenter": self.segmenter,
            "notice": NOTICE,
        }

    def overlay(self) -> PILImage.Image:
        """Draw the lungs over the image.

        Returns
        -------
        PIL.Image.Image
            RGB, of the image's own size: lungs tinted and outlined. An image that fills little of its range
            of grey levels is spread over it, as it is for the networks (:func:`lungcls.regions.stretch`).

        Raises
        ------
        ImageError
            If the image was a file that is gone or has changed.
        """
        picture = np.repeat(stretch(self.pixels())[..., None], 3, axis=2)
        mask = self.lung_mask
        picture[mask] = (1 - _TINT) * picture[mask] + _TINT * _LUNG_COLOUR
        outline = mask & _grown(~mask)
        # A line of one pixel is lost in a large film.
        for _ in range(max(mask.shape) // 1000):
            outline = _grown(outline)
        picture[outline] = _LUNG_COLOUR
        return PILImage.fromarray(np.rint(picture * 255).astype(np.uint8))

    def pixels(self) -> Pixels:
        """Return the image as the stages were given it, float32 [H, W] in [0, 1]; a file is read again.

        An image whose inverted grey levels were corrected is inverted back here too. What the stages do to
        every image, such as :func:`lungcls.regions.stretch`, is left out.

        Raises
        ------
        ImageError
            If the image was a file that is gone or has changed.
        """
        if isinstance(self._origin, str):
            pixels = read_image(self._origin, **self._options).pixels
            if pixels.shape != self.lung_mask.shape:
                raise ImageError(
                    f"{self._origin}: found {pixels.shape[0]} x {pixels.shape[1]} pixels, expected the "
                    f"{self.lung_mask.shape[0]} x {self.lung_mask.shape[1]} of the lung mask: the file has "
                    "changed; predict it again"
                )
            return self.quality.apply(pixels)
        return self.quality.apply(self._origin)


@dataclass(frozen=True, eq=False)
class Prediction(Segmentation):
    """The lungs of one image and the class that they look like.

    Attributes
    ----------
    label : str or None
        The most probable class. None where it is withheld because the image is no chest X-ray.
    probabilities : dict of str to float
        Calibrated, in the order of the weights' classes; they sum to 1.
    region : str
        The region that the classifier saw: the one asked for, or ``full`` where the mask was bad and the
        caller let the whole image stand in (`fallback`).
    fallback : bool
        Whether the whole image stood in for the region.
    view : uint8 array [S, S]
        What the classifier saw.
    classifier : str
        Name of the weights.
    p_values : dict of str to float, or None
        How well each class fits, by conformal prediction: the share of calibration images of that class that
        fit it no better. None where the weights' card stores no conformal scores.
    coverage : float or None
        How often `conformal_set` holds the true class of images like those that the weights were calibrated
        on. None where there is no such set.
    spread : dict of str to float, or None
        Standard deviation of each class's probability over the changed views of test-time augmentation, or
        over the members of an ensemble. None without either.
    disagreement : float or None
        Mutual information between the class and which of these views or members is asked, in nats
        (:func:`lungcls.uncertainty.disagreement`); None without either.
    """

    label: str | None
    probabilities: dict[str, float]
    region: str
    fallback: bool
    view: View = field(repr=False)
    classifier: str
    p_values: dict[str, float] | None = None
    coverage: float | None = None
    spread: dict[str, float] | None = None
    disagreement: float | None = None

    @property
    def confidence(self) -> float:
        """The highest calibrated probability."""
        return max(self.probabilities.values())

    @property
    def second(self) -> str | None:
        """The second most probable class; None where the label is withheld or there is no other class."""
        others = {name: value for name, value in self.probabilities.items() if name != self.label}
        return max(others, key=lambda name: others[name]) if self.label and others else None

    @property
    def tier(self) -> str:
        """``high``, ``moderate`` or ``low``, by `confidence`; ``low`` where the label is withheld."""
        return confidence_tier(self.confidence) if self.label else "low"

    @property
    def conformal_set(self) -> tuple[str, ...]:
        """The classes that cannot be ruled out at `coverage`; see :meth:`set_at`."""
        return () if self.coverage is None else self.set_at(self.coverage)

    def set_at(self, coverage: float) -> tuple[str, ...]:
        """Return the conformal set at any coverage.

        Parameters
        ----------
        coverage : float
            How often the set shall hold the true class, above 0 and below 1. It does for each class by
            itself, as long as images are like those that the weights were calibrated on.

        Returns
        -------
        tuple of str
            Most probable first; the label is always among them. Empty where the label is withheld, or where
            the weights' card stores no conformal scores.

        Raises
        ------
        ValueError
            If the coverage is not between 0 and 1.
        """
        if self.label is None or self.p_values is None:
            return ()
        inside = dict(zip(self.p_values, in_set(list(self.p_values.values()), coverage).tolist()))
        chosen = [name for name in self.probabilities if inside[name] or name == self.label]
        return tuple(sorted(chosen, key=lambda name: -self.probabilities[name]))

    def words(self) -> str:
        """Say the answer and its doubts in one sentence.

        Returns
        -------
        str
            Such as ``Most like Normal: 94%, high confidence; second is Lung_Opacity with 5%; at 0.9 coverage:
            Normal alone.``
        """
        if self.label is None:
            reasons = "; ".join(reason.message for reason in self.quality.reasons)
            return f"No label is given: {reasons or 'this does not look like a chest X-ray'}."
        parts = [f"Most like {self.label}: {_percent(self.confidence)}, {self.tier} confidence"]
        if self.second:
            parts.append(f"second is {self.second} with {_percent(self.probabilities[self.second])}")
        if self.coverage is not None:
            held = self.conformal_set
            names = f"{held[0]} alone" if len(held) == 1 else f"{', '.join(held[:-1])} or {held[-1]}"
            parts.append(f"at {self.coverage:.3g} coverage: {names}")
        if wrong := [reason.message for reason in self.quality.reasons if not reason.corrected]:
            parts.append("doubtful, as " + ", ".join(wrong))
        parts += [reason.message for reason in self.quality.reasons if reason.corrected]
        return "; ".join(parts) + "."

    def to_dict(self) -> dict[str, Any]:
        """Return all but the arrays as JSON-safe values."""
        common = super().to_dict()
        return {
            "path": common.pop("path"),
            "label": self.label,
            "confidence": self.confidence,
            "tier": self.tier,
            "second": self.second,
            "probabilities": dict(self.probabilities),
            "conformal_set": list(self.conformal_set),
            "coverage": self.coverage,
            "p_values": dict(self.p_values) if self.p_values else None,
            "spread": dict(self.spread) if self.spread else None,
            "disagreement": self.disagreement,
            "region": self.region,
            "fallback": self.fallback,
            "classifier": self.classifier,
            **common,
        }


def _percent(value: float) -> str:
    """Never 0% or 100%, which no finite sample can tell."""
    return "under 1%" if value < 0.01 else "over 99%" if value > 0.99 else f"{value:.0%}"


def _grown(mask: Mask) -> Mask:
    """A mask and the pixels that share an edge with it."""
    grown: Mask = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown
