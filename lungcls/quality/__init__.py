"""When not to believe: what can be wrong with a film and with its lung mask."""

from lungcls.quality.film import MIN_SIDE, WITHHOLDING, film_reasons
from lungcls.quality.mask import MIN_AREA, MIN_BALANCE, MIN_MERGED_WIDTH, mask_quality
from lungcls.quality.values import Quality
from lungcls.reasons import Reason

REASONS = (
    "not_chest_xray",
    "too_small",
    "ct_slice",
    "rotated_90",
    "rotated_180",
    "rotated_270",
    "inverted",
    "lateral",
    "cut_off",
    "out_of_distribution",
    "no_lungs",
    "one_lung",
    "mask_too_large",
    "tilted",
    "ragged_mask",
    "asymmetric",
    "unsure_mask",
)
"""The names of all reasons. The first two mean that the image is no frontal chest X-ray; those from
``no_lungs`` on speak of the lung mask."""

__all__ = [
    "MIN_AREA",
    "MIN_BALANCE",
    "MIN_MERGED_WIDTH",
    "MIN_SIDE",
    "REASONS",
    "WITHHOLDING",
    "Quality",
    "Reason",
    "film_reasons",
    "mask_quality",
]
