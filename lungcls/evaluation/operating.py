"""What a classifier can do at a chosen operating point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lungcls.errors import DataError


def specificity_at_sensitivity(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    weights: NDArray[np.float64],
    sensitivity: float = 0.95,
) -> NDArray[np.float64]:
    """Return the specificity at the highest threshold that finds enough positives.

    Parameters
    ----------
    scores : ndarray, shape [N]
        Higher for positives; an image counts as positive from the threshold on.
    positive : ndarray of bool, shape [N]
    weights : ndarray, shape [R, N]
        Weight of each image, 0 or more.
    sensitivity : float, default=0.95
        Share of positives that must be found, above 0 and at most 1.

    Returns
    -------
    ndarray of float64, shape [R]
        nan where a row has no weight on positives or none on negatives.

    Raises
    ------
    DataError
        If the sensitivity is out of its range.
    """
    if not 0 < sensitivity <= 1:
        raise DataError(f"sensitivity is {sensitivity}; expected a share above 0 and at most 1")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    # Equal scores are found together: only the last of each run is a threshold.
    last = np.flatnonzero(np.concatenate([ordered[1:] != ordered[:-1], [True]])) if len(ordered) else order
    by_score = weights[:, order]
    true_positives = np.cumsum(by_score * positive[order], axis=1)
    alarms = np.cumsum(by_score * ~positive[order], axis=1)
    result = np.full(len(weights), np.nan)
    if not len(ordered):
        return result
    defined = (true_positives[:, -1] > 0) & (alarms[:, -1] > 0)
    true_positives, alarms = true_positives[defined], alarms[defined]
    # A hair below, since sums of shares such as 0.95 * 20 may miss a whole number.
    enough = true_positives[:, last] >= sensitivity * true_positives[:, -1:] * (1 - 1e-12)
    at = last[enough.argmax(axis=1)]
    result[defined] = 1 - alarms[np.arange(len(alarms)), at] / alarms[:, -1]
    return result
