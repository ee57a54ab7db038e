"""Check 6: what do small changes of the image cost?"""

from __future__ import annotations

from typing import Any

import numpy as np

from lungcls.evaluation.bootstrap import Estimate, exact_share
from lungcls.evaluation.weighted import difference, macro_f1, share
from lungcls.shortcuts import rules
from lungcls.shortcuts.changes import CHANGES, LOSSY
from lungcls.shortcuts.check import Audit, Check, Finding, Picture, Row
from lungcls.shortcuts.pictures import strip
from lungcls.shortcuts.sample import Trial, interval


class Robustness(Check):
    """Change each image in small ways and measure the drop of macro-F1, on the same images.

    A row a change: macro-F1 under it, the drop, and the share of answers that change. Changes that destroy
    details (JPEG, blur, noise, half the resolution) take from a fine texture what the disease may be read
    from: there the drop is judged that comes in addition to that of the same change within the lungs alone.
    """

    name = "robustness"
    number = 6
    title = "Small changes of the image"
    costly = True
    limit = rules.ROBUST_DROP
    plot_title = "Drop of macro-F1"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return {"drop": str(row["change"]), "beyond_lungs": f"{row['change']}, beyond the lungs"}.get(
            row["figure"]
        )

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        sample, k = trial.sample, len(trial.subject.classes)
        if len(sample) < rules.MIN_IMAGES:
            return self.untold(f"only {len(sample)} images; {rules.MIN_IMAGES} are needed")
        clean = trial.probabilities.argmax(1)
        before = macro_f1(trial.labels, clean, k)
        surroundings = trial.subject.region.kind.shows in ("both", "around")
        rows: list[dict[str, Any]] = []
        judged: dict[str, Estimate] = {}
        pictures: list[Picture] = []
        for name, change in CHANGES.items():
            rng = np.random.default_rng(trial.seed)
            changed = [change(p, m, rng) for p, m in zip(sample.pixels, sample.masks)]
            predicted = trial.answers([p for p, _ in changed], [m for _, m in changed]).argmax(1)
            after = macro_f1(trial.labels, predicted, k)
            drop = trial.estimate(difference(after, before))
            other = exact_share(trial.estimate(share(predicted != clean)), trial.resamples.n_groups)
            for figure, found in (
                ("macro_f1", trial.estimate(after)),
                ("drop", drop),
                ("answers_changed", other),
            ):
                rows.append({"change": name, "figure": figure, **interval(found, len(sample))})
            if name not in LOSSY:
                judged[name] = drop
            elif surroundings:
                inside = [np.where(m, q, p) for p, m, (q, _) in zip(sample.pixels, sample.masks, changed)]
                lungs_alone = macro_f1(trial.labels, trial.answers(inside, sample.masks).argmax(1), k)
                beyond = judged[name] = trial.estimate(difference(after, lungs_alone))
                rows.append({"change": name, "figure": "beyond_lungs", **interval(beyond, len(sample))})
            if name in ("JPEG quality 30", "noise, sd 0.05", "rotated by 15 degrees", "text in a corner"):
                pictures.append(
                    Picture(f"{name}: before and after", strip([sample.pixels[0], changed[0][0]]))
                )
        worst = max(judged, key=lambda name: judged[name].value)
        found = judged[worst]
        because = (
            f"the largest drop is {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) under {worst!r}"
            f"{', beyond that of the lungs alone' * (worst in LOSSY)}; limit {rules.ROBUST_DROP}"
            f"{rules.size_words(found, rules.ROBUST_DROP, len(sample))}"
        )
        if not surroundings:
            because += (
                "; what JPEG, blur, noise and half the resolution cost is shown and not judged (check E is)"
            )
        verdict = rules.all_at_most(list(judged.values()), rules.ROBUST_DROP)
        return self.finding(verdict, because, rows, pictures)
