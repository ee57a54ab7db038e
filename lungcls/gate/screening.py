"""Is this a chest X-ray at all, frontal, upright, whole and not inverted? Asked of the image alone.

A network of some 60,000 parameters looks at the whole image in 64 pixels. It knows neither the segmenter nor
the classifier, so that new weights of theirs leave it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lungcls.numeric import softmax
from lungcls.reasons import Reason
from lungcls.regions import Pixels, View, whole_view

if TYPE_CHECKING:
    from lungcls.engines import Network
    from lungcls.weights import Card

KINDS: Final = (
    "frontal",
    "rotated_90",
    "rotated_180",
    "rotated_270",
    "inverted",
    "lateral",
    "ct_slice",
    "cut_off",
    "other",
)
"""What the network tells apart, in the order of its outputs. ``rotated_90``: turned a quarter against the
clock, as ``numpy.rot90`` does; ``cut_off``: a part of a frontal film; ``other``: no X-ray of a chest."""

FOREIGN: Final = ("ct_slice", "other")
"""The kinds that are no chest X-rays."""

SURE: Final = 0.9
"""Probability from which on the gate is taken at its word where the lung mask speaks against it."""

MESSAGES: Final = {
    "not_chest_xray": "this does not look like a frontal chest X-ray",
    "ct_slice": "this looks like a CT slice, not like a chest X-ray",
    "rotated_90": "the film is turned a quarter against the clock; turn it upright",
    "rotated_180": "the film is upside down; turn it upright",
    "rotated_270": "the film is turned a quarter with the clock; turn it upright",
    "inverted": "the grey levels are inverted: bone is dark",
    "lateral": "the film looks lateral, not frontal",
    "cut_off": "the film shows only a part of the lungs",
}
"""What each reason for a kind says."""


@dataclass(frozen=True, slots=True)
class Screening:
    """What the gate says about one image.

    Attributes
    ----------
    probabilities : dict of str to float
        Of each of :data:`KINDS`; they sum to 1.
    distance : float
        Squared Mahalanobis distance of the image's features from those of frontal films over its dimensions:
        1 on average for films like those of the training data.
    accepted : bool
        False where the image is no chest X-ray.
    reasons : tuple of Reason
        Empty for an upright frontal film like those of the training data.
    """

    probabilities: dict[str, float]
    distance: float
    accepted: bool
    reasons: tuple[Reason, ...]

    @property
    def chest(self) -> float:
        """Probability that the image is an X-ray of a chest, in [0, 1]."""
        return 1.0 - sum(self.probabilities[kind] for kind in FOREIGN)

    @property
    def frontal(self) -> float:
        """Probability of an upright, whole, frontal film, given that it is an X-ray of a chest, in [0, 1]."""
        return self.probabilities["frontal"] / max(self.chest, 1e-12)

    @property
    def certainty(self) -> float:
        """Probability of the likeliest kind, in [0, 1]."""
        return max(self.probabilities.values())

    @property
    def corrected(self) -> bool:
        """Whether the image is inverted for certain, so that the answer is for its inverse."""
        return any(reason.corrected for reason in self.reasons)

    def apply(self, pixels: Pixels) -> Pixels:
        """Return the image that was given, inverted back where it was inverted for certain."""
        return np.float32(1) - pixels if self.corrected else pixels


def judge(values: npt.NDArray[np.floating], thresholds: Mapping[str, float]) -> Screening:
    """Turn the network's outputs for one image into an answer.

    Parameters
    ----------
    values : array [kinds + 1]
        Logits in the order of :data:`KINDS`, then the distance.
    thresholds : mapping
        ``chest``: the least probability of an X-ray of a chest that is accepted, and ``film``
        where it would more likely be turned, inverted, lateral or cut off than frontal; ``frontal``: the
        least :attr:`Screening.frontal`; ``distance``: the largest distance of what is in the distribution.

    Returns
    -------
    Screening
    """
    probabilities = dict(zip(KINDS, softmax(values[:-1].astype(np.float64)).tolist()))
    screening = Screening(probabilities, float(values[-1]), True, ())
    # What is taken for a film of an odd kind must be one beyond doubt: that is where strangers end up.
    least = thresholds["chest" if probabilities["frontal"] >= 0.5 else "film"]
    if screening.chest < least:
        # What it is called makes no difference to what follows.
        kind = max(probabilities, key=probabilities.__getitem__)
        name = kind if kind in ("ct_slice", "lateral") else "not_chest_xray"
        return replace(
            screening, accepted=False, reasons=(Reason(name, screening.chest, least, MESSAGES[name]),)
        )
    reasons = []
    if screening.frontal < thresholds["frontal"]:
        rest = [kind for kind in KINDS[1:] if kind not in FOREIGN]
        kind = max(rest, key=probabilities.__getitem__)
        reasons.append(Reason(kind, screening.frontal, thresholds["frontal"], MESSAGES[kind]))
    elif screening.distance > thresholds["distance"]:
        message = "the film is unlike those of the training data"
        reasons.append(Reason("out_of_distribution", screening.distance, thresholds["distance"], message))
    return replace(screening, reasons=tuple(reasons))


class Gate:
    """The quality gate's network with its thresholds.

    Parameters
    ----------
    card : Card
    network : Network
        uint8 views [B, S, S] to float32 [B, kinds + 1].
    """

    def __init__(self, card: Card, network: Network) -> None:
        self.card = card
        self.network = network

    def __repr__(self) -> str:
        return f"Gate({self.card.name!r}, device={self.network.device!r}, engine={self.network.engine!r})"

    @classmethod
    def load(
        cls,
        weights: str | Path = "gate",
        device: str = "auto",
        *,
        engine: str = "auto",
        precision: str = "fp32",
    ) -> Gate:
        """Load a gate from a released name or a path.

        Parameters
        ----------
        weights, device, engine, precision
            As :func:`lungcls.engines.load_network` takes them.

        Raises
        ------
        WeightsError
            If the weights are missing, damaged or not a gate's.
        MissingExtraError
            If the engine is not installed.
        ValueError
            If the engine, the precision or the device is unknown or not available.
        """
        from lungcls.engines import load_network

        return cls(*load_network(weights, "gate", engine=engine, device=device, precision=precision))

    def outputs(self, views: View) -> npt.NDArray[np.float32]:
        """Return the network's outputs.

        Parameters
        ----------
        views : uint8 array [B, S, S]
            Whole images (:func:`lungcls.regions.whole_view`); S is the card's ``input_size``.

        Returns
        -------
        float32 array [B, kinds + 1]
            Logits in the order of :data:`KINDS`, and last the distance.
        """
        return self.network(views)

    def screen(self, images: Sequence[Pixels], aspects: Sequence[float] | None = None) -> list[Screening]:
        """Judge images.

        Parameters
        ----------
        images : sequence of float32 arrays [H, W] in [0, 1]
        aspects : sequence of float, optional
            Height of a pixel over its width in each image; by default 1.

        Returns
        -------
        list of Screening
            Where an image is inverted for certain, the answer is that for the inverted image, with the
            reason ``inverted`` marked as corrected: the caller goes on with ``1 - pixels``.
        """
        if not images:
            return []
        aspects = aspects or [1.0] * len(images)
        size = self.card.input_size
        views = np.stack(
            [whole_view(pixels, size, aspect, self.card.tone)[0] for pixels, aspect in zip(images, aspects)]
        )
        screenings = [judge(values, self.card.thresholds) for values in self.outputs(views)]
        # What looks inverted is looked at once more, inverted back.
        for place, first in enumerate(screenings):
            if first.accepted and any(reason.name == "inverted" for reason in first.reasons):
                screenings[place] = self._reinverted(images[place], aspects[place], first)
        return screenings

    def _reinverted(self, pixels: Pixels, aspect: float, first: Screening) -> Screening:
        view, _ = whole_view(np.float32(1) - pixels, self.card.input_size, aspect, self.card.tone)
        second = judge(self.outputs(view[None])[0], self.card.thresholds)
        certain = first.probabilities["inverted"] > self.card.thresholds["inverted"]
        if not certain or not second.accepted or any(reason.name == "inverted" for reason in second.reasons):
            return first
        threshold, message = self.card.thresholds["frontal"], "inverted grey levels were corrected"
        reason = Reason("inverted", first.frontal, threshold, message, corrected=True)
        return replace(second, reasons=(reason, *second.reasons))
