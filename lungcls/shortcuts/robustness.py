"""Check 6: what do small changes of the image cost?"""

from __future__ import annotations

from typing import Any

import numpy as np

from lungcls.evaluation.weighted import difference, macro_f1
from lungcls.shortcuts import rules
from lungcls.shortcuts.changes import CHANGES
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Row, Verdict, joined
from lungcls.shortcuts.pictures import strip
from lungcls.shortcuts.sample import Trial, interval


class Robustness(Check):
    """Change each image in small ways and measure the drop of macro-F1, on the same images.

    A row a change: macro-F1 under it, the drop, and the share of answers that change.
    """

    name = "robustness"
    number = 6
    title = "Small changes of the image"
    limit = rules.ROBUST_DROP
    plot_title = "Drop of macro-F1"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return str(row["change"]) if row["figure"] == "drop" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        sample, classes = trial.sample, trial.subject.classes
        if len(sample) < rules.MIN_IMAGES:
            return self.untold(f"only {len(sample)} images")
        clean = trial.probabilities.argmax(1)
        before = macro_f1(trial.labels, clean, len(classes))
        rows: list[dict[str, Any]] = []
        verdicts: list[Verdict] = []
        drops = {}
        pictures: list[Picture] = []
        for name, change in CHANGES.items():
            rng = np.random.default_rng(trial.seed)
            changed = [change(p, m, rng) for p, m in zip(sample.pixels, sample.masks)]
            predicted = trial.answers([p for p, _ in changed], [m for _, m in changed]).argmax(1)
            after = macro_f1(trial.labels, predicted, len(classes))
            drop = trial.estimate(difference(after, before))
            drops[name] = drop
            verdicts.append(rules.at_most(drop, rules.ROBUST_DROP))
            rows.append(
                {"change": name, "figure": "macro_f1", **interval(trial.estimate(after), len(sample))}
            )
            rows.append({"change": name, "figure": "drop", **interval(drop, len(sample))})
            rows.append(
                {
                    "change": name,
                    "figure": "answers_changed",
                    "value": float((predicted != clean).mean()),
                    "n": len(sample),
                }
            )
            if name in ("JPEG quality 30", "noise, sd 0.05", "rotated by 15 degrees", "text in a corner"):
                pictures.append(
                    Picture(f"{name}: before and after", strip([sample.pixels[0], changed[0][0]]))
                )
        worst = max(drops, key=lambda name: drops[name].value)
        because = (
            f"the largest drop is {drops[worst].value:.3f} ({drops[worst].low:.3f} to "
            f"{drops[worst].high:.3f}) under {worst!r}; limit {rules.ROBUST_DROP}"
        )
        return self.finding(joined(verdicts), because, rows, pictures)
