"""What highdicom's copy of the standard says about SOP classes."""

from __future__ import annotations

from highdicom._standard_utils import (
    does_iod_have_pixel_data,
    get_sop_class_iod_map,
    is_attribute_in_iod,
)


def is_single_frame_image(sop_class: str) -> bool:
    """Tell whether a SOP class is a known one for images of a single frame."""
    return (
        str(sop_class) in get_sop_class_iod_map()
        and does_iod_have_pixel_data(sop_class)
        and not is_attribute_in_iod("NumberOfFrames", sop_class)
    )
