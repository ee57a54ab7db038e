"""What a model was trained to see, where its file does not say it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lungcls.errors import OptionError
from lungcls.regions import Region, View


@dataclass(frozen=True)
class Seen:
    """Classes, size and grey levels of a model that comes without a card.

    Attributes
    ----------
    classes : tuple of str
        In the order of its outputs, spelled as the dataset's classes. Empty where the file may say it.
    input_size : int
        Side of its views, in pixels; 0 where the file may say it.
    region : Region
    mean, std : tuple of float
        Of the normalisation, in units of the [0, 1] range; one value, or one a channel.
    """

    classes: tuple[str, ...] = ()
    input_size: int = 0
    region: Region = field(default_factory=lambda: Region("full"))
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)

    def __post_init__(self) -> None:
        if min(self.std, default=0) <= 0 or not self.mean:
            raise OptionError(f"--std is {self.std}; expected values above 0, one or one a channel")

    def named(self, outputs: int | None, what: str) -> tuple[str, ...]:
        """Return the classes, checked against the number of outputs where it is known."""
        if not self.classes:
            raise OptionError(
                f"{what}: nothing says its classes; name them in their order with --outputs A,B,C"
            )
        if outputs is not None and outputs != len(self.classes):
            raise OptionError(f"{what} has {outputs} outputs, --outputs names {len(self.classes)}")
        return self.classes

    def sized(self, size: int | None, what: str) -> int:
        """Return the side of its views."""
        if not (self.input_size or size):
            raise OptionError(f"{what}: nothing says how large its images are; give --input-size")
        if size and self.input_size and size != self.input_size:
            raise OptionError(f"{what} takes images of {size} pixels, --input-size is {self.input_size}")
        return self.input_size or int(size or 0)

    def batch(self, views: View, channels: int) -> NDArray[np.float32]:
        """Return uint8 views [B, S, S] as a network takes them, float32 [B, channels, S, S]."""
        grey = np.repeat(views[:, None].astype(np.float32) / 255, channels, axis=1)
        mean, std = (np.asarray(value, np.float32).reshape(1, -1, 1, 1) for value in (self.mean, self.std))
        return np.ascontiguousarray((grey - mean) / std)
