"""The arms of an ablation: what each shows of an image, and to what kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lungcls.errors import DataError

Features = Literal["", "thumbnail8", "thumbnail16", "histogram", "statistics", "outline", "frame"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm.

    Attributes
    ----------
    name : str
    shows : str
        In words, for tables and plots.
    region : str
        Of the networks (:data:`lungcls.regions.REGIONS`); empty for arms with a model on features.
    features : str
        What a scikit-learn model is given (:mod:`lungcls.ablation.features`); empty for networks.
    shuffled : bool
        Whether each image is cut with the lung mask of another one.
    harmonised : bool
        Whether the lungs of all images are given one sharpness and one histogram first.
    """

    name: str
    shows: str
    region: str = ""
    features: Features = ""
    shuffled: bool = False
    harmonised: bool = False

    @property
    def needs_mask(self) -> bool:
        """Whether the arm depends on lung masks."""
        return self.region not in ("", "full") or self.features in ("statistics", "outline", "frame")


_ALL: Final = (
    Arm("full", "the whole image", "full"),
    Arm("crop", "the lungs' box", "crop"),
    Arm("mask", "the lungs alone, cropped to their box", "mask"),
    Arm("mask_uncropped", "the lungs alone, in place", "mask_uncropped"),
    Arm("background", "all but the lungs", "background"),
    Arm("background_box", "all but the lungs' box: no outline is left", "background_box"),
    Arm("silhouette", "the lungs' outline alone", "silhouette"),
    Arm("mask_shuffled", "what another image's lung mask leaves", "mask", shuffled=True),
    Arm(
        "mask_harmonised",
        "the lungs alone, of one sharpness and one histogram, cropped to their box",
        "mask",
        harmonised=True,
    ),
    Arm("thumbnail8", "8 x 8 pixels of the whole image, linear model", features="thumbnail8"),
    Arm("thumbnail16", "16 x 16 pixels of the whole image, linear model", features="thumbnail16"),
    Arm("histogram", "grey levels, border and sharpness alone", features="histogram"),
    Arm("statistics", "52 numbers of the lungs' pixels, whatever their place", features="statistics"),
    Arm("outline", "73 numbers of the lungs' outline", features="outline"),
    Arm("frame", "118 numbers of the outermost eighth without the lungs", features="frame"),
)

ARMS: Final[dict[str, Arm]] = {arm.name: arm for arm in _ALL}
"""All arms by name."""

DEFAULT_ARMS: Final[tuple[str, ...]] = tuple(ARMS)


def choose_arms(names: Sequence[str]) -> tuple[Arm, ...]:
    """Return arms by name, in the order of :data:`ARMS`; ``thumbnail`` stands for both sizes.

    Raises
    ------
    DataError
        If a name is unknown or none is given.
    """
    wanted = {
        part for name in names for part in (["thumbnail8", "thumbnail16"] if name == "thumbnail" else [name])
    }
    if unknown := sorted(wanted - ARMS.keys()):
        raise DataError(f"unknown arms {', '.join(unknown)}; the arms are {', '.join(ARMS)}")
    if not wanted:
        raise DataError(f"no arm was chosen; the arms are {', '.join(ARMS)}")
    return tuple(arm for name, arm in ARMS.items() if name in wanted)
