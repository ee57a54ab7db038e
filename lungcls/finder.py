"""From films to lungs: the gate, the correction, and stage 1, in the one order that every command takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from lungcls.errors import OptionError
from lungcls.gate.screening import SURE, Gate, Screening
from lungcls.images import Image
from lungcls.lungs import Lungs
from lungcls.quality import WITHHOLDING, Quality, Reason, film_reasons, mask_quality
from lungcls.regions import Mask
from lungcls.segmenter import Segmenter
from lungcls.weights import load_card

OWN_MASK: Final = "own mask"
"""What stands in :attr:`lungcls.lungs.Lungs.segmenter` where the caller gave the mask."""


class Finder:
    """The quality gate and stage 1, loaded once.

    Parameters
    ----------
    segmenter : Segmenter or None
        None where no masks are wanted, as for a network that sees whole films: every mask is then empty.
    gate : Gate or None
        None to judge masks alone; nothing is inverted back then.
    """

    def __init__(self, segmenter: Segmenter | None, gate: Gate | None) -> None:
        self.segmenter = segmenter
        self.gate = gate

    def __repr__(self) -> str:
        segmenter, gate = (stage and stage.card.name for stage in (self.segmenter, self.gate))
        return f"Finder(segmenter={segmenter!r}, gate={gate!r})"

    @classmethod
    def load(
        cls,
        segmenter: str | Path | Segmenter | None = "segmenter",
        gate: str | Path | Gate | None = "gate",
        device: str = "auto",
        *,
        engine: str = "auto",
        precision: str = "fp32",
        **cleaning: Any,
    ) -> Finder:
        """Load gate and segmenter by released name or path; what is loaded already is taken as it is.

        Parameters
        ----------
        segmenter, gate
            None for none.
        device, engine, precision
            As :func:`lungcls.engines.load_network` takes them.
        **cleaning
            ``fill_holes`` and ``keep_parts`` of :class:`lungcls.segmenter.Segmenter`.

        Raises
        ------
        WeightsError
            If weights are missing or damaged.
        OptionError
            If options contradict each other, or the device is not available.
        """
        for weights in (segmenter, gate):
            if isinstance(weights, (str, Path)):
                load_card(weights)  # a wrong name is told before anything is loaded
        running: dict[str, Any] = {"engine": engine, "precision": precision}
        if isinstance(segmenter, (str, Path)):
            segmenter = Segmenter.load(segmenter, device, **running, **cleaning)
        elif cleaning:
            raise OptionError(
                f"{' and '.join(cleaning)} given beside a loaded segmenter, which has its own; give them to "
                "Segmenter.load"
            )
        if isinstance(gate, (str, Path)):
            gate = Gate.load(gate, device, **running)
        return cls(segmenter, gate)

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides what is found, JSON-safe: caches and runs are told apart by it."""
        stages = {"segmenter": self.segmenter, "gate": self.gate}
        identity: dict[str, Any] = {
            name: {"sha256": stage.card.sha256, "thresholds": stage.card.thresholds} if stage else None
            for name, stage in stages.items()
        }
        if self.segmenter:
            identity["segmenter"] |= {
                "fill_holes": self.segmenter.fill_holes,
                "keep_parts": self.segmenter.keep_parts,
            }
        return identity

    def find(
        self,
        images: Sequence[Image],
        masks: Sequence[Mask | None] | None = None,
        read_options: dict[str, Any] | None = None,
    ) -> list[Lungs]:
        """Judge films, correct what can be corrected, and find the lungs on them.

        Parameters
        ----------
        images : sequence of Image
            One batch; the sizes may differ.
        masks : sequence of bool arrays [H, W] or None, optional
            Lung masks of one's own in place of the segmenter's, each of its film's size; None among them
            stands for a film without one.
        read_options : dict, optional
            Options of :func:`lungcls.images.read_image` by which films that are files can be read again.

        Returns
        -------
        list of Lungs
            In the order of the films.
        """
        if not images:
            return []
        pixels = [image.pixels for image in images]
        aspects = [image.pixel_aspect for image in images]
        screenings = self.gate.screen(pixels, aspects) if self.gate else [None] * len(images)
        upright = [one.apply(film) if one else film for one, film in zip(screenings, pixels)]
        drawn: list[tuple[Mask | None, float | None]]
        if masks is not None:
            drawn, name = [(mask, None) for mask in masks], OWN_MASK
        elif self.segmenter:
            drawn = list(self.segmenter.segment_with_agreement(upright, aspects))
            name = self.segmenter.card.name
        else:
            drawn, name = [(None, None)] * len(images), ""
        lungs = []
        for image, screening, (mask, agreement) in zip(images, screenings, drawn):
            wanted = self.segmenter is not None or masks is not None
            empty = np.zeros(image.pixels.shape, np.bool_)
            lungs.append(
                Lungs(
                    path=image.name,
                    mask=empty if mask is None else mask,
                    quality=assess(
                        (empty if mask is None else mask) if wanted else None,
                        agreement,
                        screening,
                        film_reasons(image),
                        image.pixel_aspect,
                    ),
                    pixel_spacing=image.pixel_spacing,
                    segmenter=name,
                    pixel_aspect=image.pixel_aspect,
                    _pixels=image.pixels,
                    _source=image.path,
                    _read_options=read_options or {},
                )
            )
        return lungs


def assess(
    mask: Mask | None,
    agreement: float | None = None,
    screening: Screening | None = None,
    film: Sequence[Reason] = (),
    aspect: float = 1.0,
) -> Quality:
    """Put together what is wrong with a film and with its lung mask.

    Parameters
    ----------
    mask : bool array [H, W] or None
        None where no mask was wanted, so that none is judged.
    agreement : float, optional
        As :func:`lungcls.quality.mask_quality` takes it.
    screening : Screening, optional
        What the gate says of the film; without it the gate is left out.
    film : sequence of Reason
        What the film's own pixels say (:func:`lungcls.quality.film_reasons`).
    aspect : float, default=1
        Height of a pixel over its width.

    Returns
    -------
    Quality
        First the film's reasons, then the gate's, then the mask's.

    Notes
    -----
    Gate and mask are independent of each other: a film that the gate accepts without being sure of what kind
    it is, and whose mask is not that of two lungs either, is refused as no chest X-ray. The reason's value is
    then the probability of the likeliest kind. It counts although most of the kinds are chests: an image
    between two of them is often neither.
    """
    quality = Quality(0.0, 0, 0.0, ()) if mask is None else mask_quality(mask, agreement, aspect)
    reasons: tuple[Reason, ...] = tuple(film)
    accepted = not any(reason.name in WITHHOLDING for reason in film)
    if screening is not None:
        reasons, accepted = (*reasons, *screening.reasons), accepted and screening.accepted
        if screening.accepted and quality.reasons and screening.certainty < SURE:
            message = "this does not look like a frontal chest X-ray, and its lungs are not those of one"
            doubt = Reason("not_chest_xray", screening.certainty, SURE, message)
            reasons, accepted = (doubt, *reasons), False
        measured = {
            "chest": screening.chest,
            "frontal": screening.frontal,
            "distance": screening.distance,
        }
        quality = replace(quality, values={**measured, **quality.values})
    named = {reason.name for reason in reasons}
    return replace(
        quality,
        reasons=(*reasons, *(reason for reason in quality.reasons if reason.name not in named)),
        accepted=accepted,
    )
