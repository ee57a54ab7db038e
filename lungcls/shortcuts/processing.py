"""Check 8, without training: is a class found as well however its images were prepared?"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lungcls.evaluation.weighted import Statistic, difference, macro_f1
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.gaps import recall_gaps
from lungcls.shortcuts.sample import Trial, interval

PLAIN: Final = ("a", "b")


class Processing(Check):
    """Compare the recall of each class between the values of ``processing``: :func:`recall_gaps`.

    Macro-F1 on the plain copies (``processing`` a and b) and on all stands beside it.
    """

    name = "processing"
    number = 8
    letter = "G"
    title = "Recall of each class by processing"
    of_answers = True
    limit = rules.PROCESSING_GAP
    plot_title = "Gap of recall within one class"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['class']}: {row['films']}" if row["figure"] == "gap" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if "processing" not in trial.columns:
            return self.untold("the dataset names no processing")
        values = trial.columns["processing"]
        told = recall_gaps(trial.answered, values, "processing")
        return self.finding(told.verdict, told.because, [*_macro(trial, np.isin(values, PLAIN)), *told.rows])


def _on(statistic: Statistic, films: np.ndarray[Any, np.dtype[np.bool_]]) -> Statistic:
    return lambda weights: statistic(weights * films)


def _macro(trial: Trial, plain: np.ndarray[Any, np.dtype[np.bool_]]) -> list[Row]:
    """Macro-F1 on all images and on the plain copies, where these are some of each class."""
    k = len(trial.subject.classes)
    if plain.all() or min(np.bincount(trial.labels[plain], minlength=k)) < rules.MIN_IMAGES:
        return []
    everything = macro_f1(trial.labels, trial.probabilities.argmax(1), k)
    drop = trial.estimate(difference(_on(everything, plain), everything))
    head = {"class": "", "films": "all", "figure": "macro_f1"}
    return [
        {**head, **interval(trial.estimate(everything), len(plain))},
        {**head, "films": "a and b", **interval(trial.estimate(everything, plain), int(plain.sum()))},
        {**head, "films": "all minus a and b", "figure": "drop", **interval(drop, len(plain))},
    ]
