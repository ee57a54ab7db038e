"""Check K: do confidence and sets keep on other collections what they promise at home?"""

from __future__ import annotations

from typing import Final

import numpy as np

from lungcls.evaluation.trust import predicted_sets
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.external import NO_SET, trial_abroad
from lungcls.shortcuts.promises import Promises
from lungcls.shortcuts.sample import Trial
from lungcls.shortcuts.subject import ClassifierSubject

_COVERAGE: Final = 0.9


class TrustAbroad(Check):
    """Measure on external sets what confidence and conformal sets promise, as the audit of predictions does.

    Rows and rules are those of :class:`lungcls.shortcuts.promises.Promises`; sets are asked of weight files
    that store what they are made of. Near duplicates of training films are left out first, as in check 10.
    """

    name = "trust_abroad"
    number = "K"
    title = "Confidence and sets on external sets"
    limit = rules.TIER_ACCURACY
    plot_title = "Share of right answers of the tier high, and of classes that the sets hold"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        figures = {"tier_high_accuracy": "tier high right", f"coverage@{_COVERAGE:g}": "sets hold"}
        what = figures.get(str(row["figure"]))
        return f"{row['set']}: {what} {row['class']}".strip() if what else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if not audit.externals:
            return self.untold(NO_SET)
        promises = Promises([], [])
        for name, study in audit.externals.items():
            abroad, _ = trial_abroad(trial, name, study, audit)
            subject, sets = abroad.subject, {}
            if isinstance(subject, ClassifierSubject):
                sets = predicted_sets(np.asarray(abroad.probabilities), subject.card, [_COVERAGE])
            promises += Promises.of(name, abroad.answered, sets, trial.seed)
        if not promises.margins:
            return self.untold(f"no external set has {rules.MIN_IMAGES} films", promises.rows)
        return self.finding(*promises.verdict(), promises.rows)
