"""Check 5: are images that the model was trained on among those that it is examined on?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lungcls.data.dataset import Dataset, Record
from lungcls.evaluation.reading import copies_of
from lungcls.evaluation.weighted import share
from lungcls.progress import Progress, quiet
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Check, untold
from lungcls.shortcuts.sample import Trial, exact_share, interval

NAME = "leakage"
TITLE = "5. Leakage"


def leakage(
    trial: Trial, database: Dataset, training: Sequence[Record], progress: Progress[Any] = quiet
) -> Check:
    """Look for near duplicates of the examined images in the training part.

    Parameters
    ----------
    trial : Trial
    database : Dataset
        That the trial's images and `training` belong to.
    training : sequence of Record
        The training part of the split.
    progress : callable, optional

    Returns
    -------
    Check
        The share of examined images with a near duplicate of their class there, and the accuracy with and
        without. `lungcls.data.duplicates` says which copies it finds and which it does not.
    """
    if not training:
        return untold(NAME, TITLE, "the data name no training part (no split)")
    copied = copies_of(database, trial.sample.records, database, training, by_class=True, progress=progress)
    found = exact_share(trial.estimate(share(copied)), trial.resamples.n_groups)
    rows: list[dict[str, Any]] = [{"figure": "share_with_a_copy_in_training", **interval(found, len(copied))}]
    for name, chosen in (("with a copy", copied), ("without", ~copied)):
        if chosen.any():
            accuracy = trial.estimate(share(trial.right), chosen)
            rows.append({"figure": "accuracy", "images": name, **interval(accuracy, int(chosen.sum()))})
    because = (
        f"{int(copied.sum())} of {len(copied)} images have a near duplicate in the training part "
        f"({found.low:.1%} to {found.high:.1%}; limit {rules.LEAKED_SHARE:.0%})"
    )
    return Check(NAME, TITLE, rules.at_most(found, rules.LEAKED_SHARE), because, rows)
