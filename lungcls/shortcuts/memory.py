"""What a model said of the views that it was shown: it is asked once about each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.regions import View
from lungcls.shortcuts.subject import FeatureSubject, Subject

_BATCH: Final = 64


class Memory:
    """Logits and features by the pixels of the views, of any number of models.

    Several checks show a model the same view: the film as it is, one that a change left as it was, a black
    one. The memory lives as long as an audit; it holds the numbers and a hash of each view, not the pixels.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[Subject, dict[bytes, NDArray[Any]]]] = {}

    def logits(self, subject: Subject, views: View) -> NDArray[Any]:
        """Return logits [N, classes] of any number of views, uint8 [N, S, S]; new ones run in batches."""
        return self._rows(subject, "logits", subject.logits, views)

    def features(self, subject: FeatureSubject, views: View) -> NDArray[Any]:
        """Return features [N, F] in the same way."""
        return self._rows(subject, "features", subject.features, views)

    def _rows(
        self, subject: Subject, kind: str, function: Callable[[View], NDArray[Any]], views: View
    ) -> NDArray[Any]:
        # The subject itself is kept beside its number, which would else go to another one.
        _, known = self._known.setdefault((id(subject), kind), (subject, {}))
        keys = [hashlib.blake2b(view.tobytes(), digest_size=16).digest() for view in views]
        new = {key: place for place, key in enumerate(keys) if key not in known}
        places = list(new.values())
        for start in range(0, len(places), _BATCH):
            at = places[start : start + _BATCH]
            for place, row in zip(at, function(views[at]), strict=True):
                known[keys[place]] = row
        return np.stack([known[key] for key in keys])
