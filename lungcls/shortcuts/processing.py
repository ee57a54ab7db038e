"""Check 8, without training: does a result hold on the images that were not reprocessed?"""

from __future__ import annotations

import numpy as np

from lungcls.evaluation.weighted import difference, macro_f1
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding
from lungcls.shortcuts.sample import Trial, interval

PLAIN = ("a", "b")


class Processing(Check):
    """Compare macro-F1 on the plain copies (``processing`` a and b) with that on all images.

    Rows for macro-F1 on all, on a and b, and their difference under the same resamples.
    """

    name = "processing"
    number = 8
    title = "Images of the processings a and b only, against all"

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        values = np.asarray([record.processing for record in trial.sample.records])
        plain = np.isin(values, PLAIN)
        k = len(trial.subject.classes)
        least = min(np.bincount(trial.labels[plain], minlength=k), default=0)
        if not (values != "").any():
            return self.untold("the dataset names no processing")
        if plain.all() or least < rules.MIN_IMAGES:
            return self.untold(
                f"a class has {least} images of the processings a and b, {int((~plain).sum())} are others",
            )
        everything = macro_f1(trial.labels, trial.probabilities.argmax(1), k)
        drop = trial.estimate(difference(lambda weights: everything(weights * plain), everything))
        rows = [
            {"images": "all", "figure": "macro_f1", **interval(trial.estimate(everything), len(plain))},
            {
                "images": "a and b",
                "figure": "macro_f1",
                **interval(trial.estimate(everything, plain), int(plain.sum())),
            },
            {"images": "all minus a and b", "figure": "drop", **interval(drop, len(plain))},
        ]
        because = (
            f"macro-F1 falls by {drop.value:.3f} ({drop.low:.3f} to {drop.high:.3f}) on the plain copies; "
            f"limit {rules.PROCESSING_DROP}"
        )
        return self.finding(rules.at_most(drop, rules.PROCESSING_DROP), because, rows)
