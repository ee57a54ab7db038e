"""A network that is run once a view, however many pipelines ask for it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lungcls.engines import Network
from lungcls.regions import View


class OnceNetwork:
    """Remembers the answers of a batch, so that classifiers of several regions share stage 1.

    Belongs to one thread.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: dict[bytes, npt.NDArray[np.float32]] = {}

    @property
    def engine(self) -> str:
        """That of the network."""
        return self._network.engine

    @property
    def device(self) -> str:
        """That of the network."""
        return self._network.device

    def __call__(self, views: View) -> npt.NDArray[np.float32]:
        """Run the network on the views that it was not run on yet; as :class:`lungcls.engines.Network`."""
        keys = [view.tobytes() for view in views]
        new = {key: view for key, view in zip(keys, views) if key not in self._known}
        if new:
            self._known.update(zip(new, self._network(np.stack(list(new.values())))))
        return np.stack([self._known[key] for key in keys])

    def forget(self) -> None:
        """Let go of the answers."""
        self._known.clear()
