"""The interface that every engine offers, and all that the stages know of a network."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from lungcls.regions import View


class Network(Protocol):
    """A loaded network: views in, logits out.

    Attributes
    ----------
    engine : str
        One of :data:`lungcls.engines.ENGINES`.
    device : str
        Where it runs, such as ``cpu`` or ``cuda:0``.
    """

    @property
    def engine(self) -> str: ...

    @property
    def device(self) -> str: ...

    def __call__(self, views: View) -> npt.NDArray[np.float32]:
        """Run the network on one batch.

        Parameters
        ----------
        views : uint8 array [B, S, S]
            S is the card's ``input_size``. The engine normalises them as the card says.

        Returns
        -------
        float32 array
            Logits, [B, 1, S, S] of a segmenter and [B, classes] of a classifier.
        """
        ...
