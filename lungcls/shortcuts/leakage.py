"""Check 5: are images that the model was trained on among those that it is examined on?"""

from __future__ import annotations

from typing import Any

from lungcls.evaluation.bootstrap import exact_share
from lungcls.evaluation.reading import copies_of
from lungcls.evaluation.weighted import share
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding
from lungcls.shortcuts.sample import Trial, interval


class Leakage(Check):
    """Look for near duplicates of the examined images in the training part.

    The share of examined images with a near duplicate of their class there, and the accuracy with and
    without. `lungcls.data.duplicates` says which copies it finds and which it does not.
    """

    name = "leakage"
    number = 5
    title = "Leakage"

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        training, database = trial.study.training_records, trial.study.dataset
        if not training:
            return self.untold("the data name no training part (no split)")
        copied = copies_of(
            database, trial.sample.records, database, training, by_class=True, progress=audit.progress
        )
        found = exact_share(trial.estimate(share(copied)), trial.resamples.n_groups)
        rows: list[dict[str, Any]] = [
            {"figure": "share_with_a_copy_in_training", **interval(found, len(copied))}
        ]
        for name, chosen in (("with a copy", copied), ("without", ~copied)):
            if chosen.any():
                accuracy = trial.estimate(share(trial.right), chosen)
                rows.append({"figure": "accuracy", "images": name, **interval(accuracy, int(chosen.sum()))})
        because = (
            f"{int(copied.sum())} of {len(copied)} images have a near duplicate in the training part "
            f"({found.low:.1%} to {found.high:.1%}; limit {rules.LEAKED_SHARE:.0%})"
        )
        return self.finding(rules.at_most(found, rules.LEAKED_SHARE), because, rows)
