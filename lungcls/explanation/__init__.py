"""Why a network answered what it did: maps of attention, mapped back to the image and measured.

The pieces take any torch module, any lung mask and any boxes, so that other models can be measured too.
"""

from lungcls.explanation.boxes import pointing_hit, read_boxes
from lungcls.explanation.explain import explain_predictions, explain_stream
from lungcls.explanation.explanation import Explanation
from lungcls.explanation.frame import Frame
from lungcls.explanation.maps import METHODS, attribution_maps, randomised
from lungcls.explanation.shares import attention_shares, energy_share, lung_parts

__all__ = [
    "METHODS",
    "Explanation",
    "Frame",
    "attention_shares",
    "attribution_maps",
    "energy_share",
    "explain_predictions",
    "explain_stream",
    "lung_parts",
    "pointing_hit",
    "randomised",
    "read_boxes",
]
