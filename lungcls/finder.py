"""What the gate and the lung mask say together."""

from __future__ import annotations

from dataclasses import replace

from lungcls.gate.gate import SURE, Screening
from lungcls.quality import Quality, Reason, mask_quality
from lungcls.regions import Mask


def assess(mask: Mask, agreement: float | None = None, screening: Screening | None = None) -> Quality:
    """Put together what is wrong with an image and with its lung mask.

    Parameters
    ----------
    mask : bool array [H, W]
    agreement : float, optional
        As :func:`lungcls.quality.mask_quality` takes it.
    screening : Screening, optional
        What the gate says of the image; without it only the mask is judged.

    Returns
    -------
    Quality
        First the gate's reasons, then the mask's.

    Notes
    -----
    The two are independent of each other: an image that the gate accepts without being sure of what kind it
    is, and whose mask is not that of two lungs either, is refused as no chest X-ray. The reason's value is
    then the probability of the likeliest kind. It counts although most of the kinds are chests: an image
    between two of them is often neither.
    """
    found = mask_quality(mask, agreement)
    if screening is None:
        return found
    reasons, accepted = screening.reasons, screening.accepted
    if accepted and found.reasons and screening.certainty < SURE:
        message = "this does not look like a frontal chest X-ray, and its lungs are not those of one"
        doubt = Reason("not_chest_xray", screening.certainty, SURE, message)
        reasons, accepted = (doubt, *reasons), False
    named = {reason.name for reason in reasons}
    return replace(
        found,
        reasons=(*reasons, *(reason for reason in found.reasons if reason.name not in named)),
        accepted=accepted,
        values={
            "chest": screening.chest,
            "frontal": screening.frontal,
            "distance": screening.distance,
            **found.values,
        },
    )
