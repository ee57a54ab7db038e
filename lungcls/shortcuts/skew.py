"""Check N: is a model as good where class and source are unrelated, or related the other way round?"""

from __future__ import annotations

from typing import Any

import numpy as np

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.weighted import Floats, Statistic, difference, share
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.sample import Trial, interval
from lungcls.shortcuts.source import COLUMNS, Cells, cells_of


class SkewReversal(Check):
    """Weigh the films so that class and source are unrelated, or related the other way round.

    Over the classes with two or more sources of enough films; then the same for processings. A row a column
    and weighing: the mean recall over these classes and its drop, under the same resamples. Recalls of
    classes in sources are weighted, as a sample of such films would: nothing is drawn twice.
    """

    name = "skew_reversal"
    number = "N"
    title = "Class and source unrelated, and related the other way round"
    limit = rules.SKEW_DROP
    plot_title = "Drop of balanced accuracy"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['column']}, {row['relation']}" if row["figure"] == "drop" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        rows: list[dict[str, Any]] = []
        judged: list[tuple[Estimate, str, int]] = []
        for column in COLUMNS:
            cells = cells_of(trial, column)
            if not cells:
                continue
            names = [trial.subject.classes[k] for k in dict.fromkeys(k for k, _ in cells)]
            n = int(sum(cell.sum() for cell in cells.values()))
            home = _recall(trial, cells, _shares(cells, 1.0))
            for relation, power in (("as it is", 1.0), ("unrelated", 0.0), ("reversed", -1.0)):
                figure = _recall(trial, cells, _shares(cells, power))
                row = {"column": column, "relation": relation, "classes": ", ".join(names)}
                rows.append({**row, "figure": "balanced_accuracy", **interval(trial.estimate(figure), n)})
                if power == 1.0:
                    continue
                drop = trial.estimate(difference(figure, home))
                rows.append({**row, "figure": "drop", **interval(drop, n)})
                judged.append((drop, f"with {column} and class {relation}", n))
        if not judged:
            return self.untold(
                f"no class has two sources or processings with {rules.MIN_IMAGES} images each in this sample",
                rows,
            )
        worst, what, n = max(judged, key=lambda one: one[0].value)
        because = (
            f"balanced accuracy falls by {worst.value:.3f} ({worst.low:.3f} to {worst.high:.3f}) {what}; "
            f"limit {rules.SKEW_DROP}{rules.size_words(worst, rules.SKEW_DROP, n)}"
        )
        return self.finding(
            rules.all_at_most([drop for drop, _, _ in judged], rules.SKEW_DROP), because, rows
        )


def _shares(cells: Cells, power: float) -> dict[tuple[int, str], float]:
    """The share of each value within its class.

    How much more often a value is found in a class than in all, to the power: 1 is the sample, 0 unrelated,
    -1 as rare as it was frequent.
    """
    counts = {key: float(cell.sum()) for key, cell in cells.items()}
    total = sum(counts.values())
    of_class: dict[int, float] = {}
    of_value: dict[str, float] = {}
    for (k, value), count in counts.items():
        of_class[k] = of_class.get(k, 0.0) + count
        of_value[value] = of_value.get(value, 0.0) + count / total
    raw = {
        (k, value): of_value[value] * (count / of_class[k] / of_value[value]) ** power
        for (k, value), count in counts.items()
    }
    sums: dict[int, float] = {}
    for (k, _), weight in raw.items():
        sums[k] = sums.get(k, 0.0) + weight
    return {(k, value): weight / sums[k] for (k, value), weight in raw.items()}


def _recall(trial: Trial, cells: Cells, shares: dict[tuple[int, str], float]) -> Statistic:
    """Mean over classes of the recall in each cell, weighted by the cell's share of its class."""
    right, n_classes = share(trial.right), len({k for k, _ in cells})

    def statistic(weights: Floats) -> Floats:
        parts = [shares[key] * right(weights * cell) for key, cell in cells.items()]
        return np.asarray(np.sum(parts, axis=0) / n_classes)

    return statistic
