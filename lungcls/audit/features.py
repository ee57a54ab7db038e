"""Features of a model, as a user brings them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lungcls.errors import DataError
from lungcls.evaluation.weighted import Floats


def read_features(path: str | Path, n: int) -> Floats:
    """Read features, ``.npy`` [N, F], one row a prediction, in the order of the predictions.

    Raises
    ------
    DataError
        If the file cannot be read, or has another shape, or holds what is not finite.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: not readable as .npy ({error}); write it with numpy.save, no objects in it"
        ) from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or len(values) != n or not values.shape[1]:
        shape = list(getattr(values, "shape", []))
        raise DataError(f"{path}: shape {shape}; expected [{n}, F]: one row a prediction, in their order")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise DataError(f"{path}: row {row} (from 0) holds what is not finite")
    return values
