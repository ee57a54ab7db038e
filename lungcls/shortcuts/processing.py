"""Check 8, without training: is a class found as well however its images were prepared?"""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np

from lungcls.evaluation.bootstrap import Estimate, exact_share
from lungcls.evaluation.weighted import Statistic, difference, macro_f1, share
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.sample import Trial, interval

PLAIN: Final = ("a", "b")


class Processing(Check):
    """Compare the recall of each class between the values of ``processing``.

    A row a class and processing: recall; a row a class and pair of processings: the gap, under the same
    resamples. Class by class, since over all classes opposite gaps cancel. Macro-F1 on the plain copies
    (``processing`` a and b) and on all stands beside them.
    """

    name = "processing"
    number = 8
    letter = "G"
    title = "Recall of each class by processing"
    limit = rules.PROCESSING_GAP
    plot_title = "Gap of recall between two processings of one class"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['class']}: {row['images']}" if row["figure"] == "gap" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        values = np.asarray([record.processing for record in trial.sample.records])
        if not (values != "").any():
            return self.untold("the dataset names no processing")
        rows: list[dict[str, Any]] = _macro(trial, np.isin(values, PLAIN))
        gaps: list[tuple[Estimate, str, int]] = []
        right = share(trial.right)
        for k, label in enumerate(trial.subject.classes):
            of_class = {
                name: (trial.labels == k) & (values == name) for name in np.unique(values).tolist() if name
            }
            recalls: dict[str, Statistic] = {}
            for name, films in of_class.items():
                if (n := int(films.sum())) < rules.MIN_IMAGES:
                    continue
                recalls[name] = _on(right, films)
                groups = len(set(trial.resamples.codes[films].tolist()))
                found = exact_share(trial.estimate(recalls[name]), groups)
                rows.append({"class": label, "images": name, "figure": "recall", **interval(found, n)})
            for one, two in itertools.combinations(recalls, 2):
                gap = trial.estimate(difference(recalls[one], recalls[two]))
                n = int(of_class[one].sum() + of_class[two].sum())
                rows.append(
                    {"class": label, "images": f"{two} minus {one}", "figure": "gap", **interval(gap, n)}
                )
                gaps.append((gap, f"{label}, {two} against {one}", n))
        if not gaps:
            return self.untold(
                f"no class has {rules.MIN_IMAGES} images of each of two processings in this sample", rows
            )
        worst, what, n = max(gaps, key=lambda one: abs(one[0].value))
        size = _absolute(worst)
        because = (
            f"the recall of {what} differs by {worst.value:+.3f} ({worst.low:+.3f} to {worst.high:+.3f}); "
            f"limit {rules.PROCESSING_GAP}{rules.size_words(size, rules.PROCESSING_GAP, n)}"
        )
        # Either way: a gap and its opposite are both figures that should not exceed the limit.
        both = [one for gap, _, _ in gaps for one in (gap, Estimate(-gap.value, -gap.high, -gap.low))]
        return self.finding(rules.all_at_most(both, rules.PROCESSING_GAP), because, rows)


def _on(statistic: Statistic, films: np.ndarray[Any, np.dtype[np.bool_]]) -> Statistic:
    return lambda weights: statistic(weights * films)


def _absolute(gap: Estimate) -> Estimate:
    return gap if gap.value >= 0 else Estimate(-gap.value, -gap.high, -gap.low)


def _macro(trial: Trial, plain: np.ndarray[Any, np.dtype[np.bool_]]) -> list[dict[str, Any]]:
    """Macro-F1 on all images and on the plain copies, where these are some of each class."""
    k = len(trial.subject.classes)
    if plain.all() or min(np.bincount(trial.labels[plain], minlength=k)) < rules.MIN_IMAGES:
        return []
    everything = macro_f1(trial.labels, trial.probabilities.argmax(1), k)
    drop = trial.estimate(difference(_on(everything, plain), everything))
    head = {"class": "", "images": "all", "figure": "macro_f1"}
    return [
        {**head, **interval(trial.estimate(everything), len(plain))},
        {**head, "images": "a and b", **interval(trial.estimate(everything, plain), int(plain.sum()))},
        {**head, "images": "all minus a and b", "figure": "drop", **interval(drop, len(plain))},
    ]
