"""A scikit-learn classifier of pixels as a subject."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.audit.subjects.seen import Seen
from lungcls.errors import MissingExtraError, WeightsError
from lungcls.regions import Region, View
from lungcls.shortcuts.subject import Logits


class SklearnSubject:
    """A classifier that takes views as rows of pixels in [0, 1], [B, S * S].

    Parameters
    ----------
    model : estimator
        With ``predict_proba`` and ``classes_``.
    seen : Seen
        Its ``classes`` stand in where the model's own are numbers.
    name : str, default="model"
    """

    def __init__(self, model: Any, seen: Seen, name: str = "model") -> None:
        side = math.isqrt(int(model.n_features_in_))
        if side * side != model.n_features_in_:
            raise WeightsError(
                f"{name} takes {model.n_features_in_} numbers, which are no square image; compute its own "
                "features in FILE.py:FUNCTION"
            )
        own = tuple(map(str, model.classes_))
        self.model = model
        self.name = name
        self.region: Region = seen.region
        self.classes = seen.named(len(own), name) if seen.classes else own
        self.input_size = seen.sized(side, name)

    def logits(self, views: View) -> Logits:
        """Return the logarithm of the probabilities, [B, classes]."""
        found = self.model.predict_proba(views.reshape(len(views), -1).astype(np.float32) / 255)
        logits: Logits = np.log(np.maximum(np.asarray(found, np.float32), np.finfo(np.float32).tiny))
        return logits


def skops_subject(path: str | Path, seen: Seen) -> SklearnSubject:
    """Read a model that ``skops.io.dump`` wrote.

    Raises
    ------
    WeightsError
        If the file cannot be read, or holds types that skops does not trust.
    MissingExtraError
        If skops is not installed.
    """
    try:
        import skops.io
    except ImportError as error:
        raise MissingExtraError("skops", "models", "reading a scikit-learn model") from error
    try:
        model = skops.io.load(path, trusted=[])
    except Exception as error:  # of zipfile, of its own, of what the types raise
        raise WeightsError(f"{path}: cannot be read as a trusted skops file ({str(error)[:200]})") from error
    return SklearnSubject(model, seen, Path(path).stem)
