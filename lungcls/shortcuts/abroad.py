"""Check K: do confidence and sets keep on other collections what they promise at home?"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lungcls.evaluation.bootstrap import Estimate, exact_share
from lungcls.evaluation.calibration import calibration_metrics
from lungcls.evaluation.trust import predicted_sets
from lungcls.evaluation.weighted import share
from lungcls.prediction import confidence_tier
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.external import NO_SET, trial_abroad
from lungcls.shortcuts.sample import Trial, interval
from lungcls.shortcuts.subject import ClassifierSubject

_COVERAGE: Final = 0.9
_DRAWS: Final = 200


class TrustAbroad(Check):
    """Measure on external sets what confidence and conformal sets promise.

    Rows of each set: how often the answers of the tier "high" are right and how many these are; how often
    the sets of coverage 0.9 hold the true class, by class (where the model is a weight file that stores what
    sets are made of); and the calibration error with what a calibrated model would show on as many films.
    Near duplicates of training films are left out first, as in check 10.
    """

    name = "trust_abroad"
    number = "K"
    title = "Confidence and sets on external sets"
    limit = rules.SET_COVERAGE
    plot_title = "Share of right answers of the tier high, and of classes that the sets hold"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        what = {"tier_high_accuracy": "tier high right", "set_coverage": "sets hold"}.get(row["figure"])
        return f"{row['set']}: {what} {row['class']}".strip() if what else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if not audit.externals:
            return self.untold(NO_SET)
        rows: list[dict[str, Any]] = []
        tiers: list[Estimate] = []
        covered: list[Estimate] = []
        reasons = []
        for name, study in audit.externals.items():
            abroad, _ = trial_abroad(trial, name, study, audit)
            high = np.asarray([confidence_tier(p) == "high" for p in abroad.probabilities.max(1)])
            told = abroad.estimate(share(high))
            rows.append({"set": name, "class": "", "figure": "tier_high_share", **interval(told, len(high))})
            if (n := int(high.sum())) >= rules.MIN_IMAGES:
                groups = len(set(abroad.resamples.codes[high].tolist()))
                right = exact_share(abroad.estimate(share(abroad.right), high), groups)
                tiers.append(right)
                rows.append({"set": name, "class": "", "figure": "tier_high_accuracy", **interval(right, n)})
                reasons.append(
                    f"{name}: {told.value:.0%} of the films are answered with high confidence, "
                    f"{right.value:.0%} of these rightly ({right.low:.0%} to {right.high:.0%}; at least "
                    f"{rules.TIER_ACCURACY:.0%} is asked for)"
                )
            held = _held(abroad, name, rows)
            covered += held.values()
            if held:
                least = min(held, key=lambda label: held[label].value)
                reasons.append(
                    f"the 90% sets hold {least} in {held[least].value:.0%} ({held[least].low:.0%} to "
                    f"{held[least].high:.0%}; at least {rules.SET_COVERAGE:.0%} is asked for)"
                )
            rows += _calibration(abroad, name)
        if not tiers and not covered:
            return self.untold(
                f"fewer than {rules.MIN_IMAGES} films of any set are answered with confidence", rows
            )
        # One margin each: both limits are put to 0, so that all are corrected together.
        margins = [rules.beyond(one, rules.TIER_ACCURACY) for one in tiers]
        margins += [rules.beyond(one, rules.SET_COVERAGE) for one in covered]
        return self.finding(rules.all_at_least(margins, 0), "; ".join(reasons), rows)


def _held(trial: Trial, name: str, rows: list[dict[str, Any]]) -> dict[str, Estimate]:
    """Coverage of the sets by class; appends its rows."""
    if not isinstance(trial.subject, ClassifierSubject):
        return {}
    sets = predicted_sets(np.asarray(trial.probabilities), trial.subject.card, [_COVERAGE])
    found: dict[str, Estimate] = {}
    for k, label in enumerate(trial.subject.classes if sets else ()):
        mine = trial.labels == k
        if mine.sum() < rules.MIN_IMAGES:
            continue
        groups = len(set(trial.resamples.codes[mine].tolist()))
        found[label] = exact_share(trial.estimate(share(sets[_COVERAGE][:, k]), mine), groups)
        rows.append(
            {"set": name, "class": label, "figure": "set_coverage", **interval(found[label], int(mine.sum()))}
        )
    return found


def _calibration(trial: Trial, name: str) -> list[dict[str, Any]]:
    """The calibration error, and its mean were the labels drawn from the probabilities."""
    probabilities, n = np.asarray(trial.probabilities), len(trial.labels)
    classes, ones = trial.subject.classes, np.ones((1, n))

    def error(labels: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        return float(calibration_metrics(labels, probabilities, ones, classes)["ece", ""][0])

    rng = np.random.default_rng(trial.seed)
    drawn = (probabilities.cumsum(1)[None] < rng.random((_DRAWS, n, 1))).sum(2).clip(0, len(classes) - 1)
    expected = float(np.mean([error(labels) for labels in drawn]))
    return [
        {"set": name, "class": "", "figure": figure, "value": value, "n": n}
        for figure, value in (("ece", error(trial.labels)), ("ece_if_calibrated", expected))
    ]
