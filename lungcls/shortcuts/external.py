"""Check 10: what is left on images of other collections, by source?"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from lungcls.evaluation.bootstrap import Estimate, group_resamples, percentile_interval
from lungcls.evaluation.reading import copies_of
from lungcls.evaluation.weighted import Floats, Statistic, share
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.sample import Trial, interval
from lungcls.study.study import Study

NO_SET = "no external set was given (--external)"


class External(Check):
    """Compare balanced accuracy on external sets with that at home, over the classes that the set has.

    Rows: recall of each class and source of each set; balanced accuracy abroad, at home over the same
    classes, and its drop.
    """

    name = "external"
    number = 10
    title = "External sets, by source"
    limit = 0.5
    plot_title = "Recall on external sets, by source"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return (
            f"{row['set']}: {row['class']} ({row['source'] or 'unknown source'}, n = {row['n']})"
            if row["figure"] == "recall"
            else None
        )

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        rows: list[dict[str, Any]] = []
        drops: list[Estimate] = []
        reasons = []
        for name, study in audit.externals.items():
            abroad, copies = trial_abroad(trial, name, study, audit)
            rows += _recalls(name, abroad)
            rows.append({"set": name, "figure": "near_duplicates_left_out", "value": float(copies)})
            counts = np.bincount(abroad.labels, minlength=len(trial.subject.classes))
            judged = [k for k, count in enumerate(counts.tolist()) if count >= rules.MIN_IMAGES]
            if len(judged) < 2:
                reasons.append(f"{name}: fewer than two classes with {rules.MIN_IMAGES} images")
                continue
            there, here = abroad.estimate(_balanced(abroad, judged)), trial.estimate(_balanced(trial, judged))
            rows.append({"set": name, "figure": "balanced_accuracy", **interval(there, len(abroad.sample))})
            rows.append({"set": "home", "figure": "balanced_accuracy", **interval(here, len(trial.sample))})
            drop = _independent(trial, abroad, judged)
            rows.append({"set": name, "figure": "drop", **interval(drop, len(abroad.sample))})
            drops.append(drop)
            reasons.append(
                f"{name}: balanced accuracy over {', '.join(trial.subject.classes[k] for k in judged)} falls "
                f"by {drop.value:.2f} ({drop.low:.2f} to {drop.high:.2f}; limit {rules.EXTERNAL_DROP})"
                f"{rules.size_words(drop, rules.EXTERNAL_DROP, len(abroad.sample))}"
            )
        if not drops:
            return self.untold("; ".join(reasons) or NO_SET, rows)
        return self.finding(rules.all_at_most(drops, rules.EXTERNAL_DROP), "; ".join(reasons), rows)


def trial_abroad(trial: Trial, name: str, study: Study, audit: Audit) -> tuple[Trial, int]:
    """Return the trial on another collection without near duplicates of training films, and their number.

    Films are read and compared once, for all checks.
    """
    key = ("abroad", name)
    if key not in trial.kept:
        trial.kept[key] = _abroad(trial, study, audit)
    found: tuple[Trial, int] = trial.kept[key]
    return found


def _abroad(trial: Trial, study: Study, audit: Audit) -> tuple[Trial, int]:
    study = replace(study, n_resamples=trial.n_resamples, seed=trial.seed)
    abroad, training = (
        Trial.open(trial.subject, study, audit.progress, trial.memory),
        trial.study.training_records,
    )
    if not training:
        return abroad, 0
    home = trial.study.dataset
    copied = copies_of(study.dataset, abroad.sample.records, home, training, progress=audit.progress)
    return abroad.of(~copied), int(copied.sum())


def _recalls(name: str, trial: Trial) -> list[dict[str, Any]]:
    sources = np.asarray([record.source for record in trial.sample.records])
    rows = []
    pairs = Counter(zip([record.label for record in trial.sample.records], sources.tolist()))
    for (label, source), count in sorted(pairs.items()):
        chosen = (trial.labels == trial.subject.classes.index(label)) & (sources == source)
        found = trial.estimate(share(trial.right), chosen)
        rows.append(
            {"set": name, "class": label, "source": source, "figure": "recall", **interval(found, count)}
        )
    return rows


def _balanced(trial: Trial, judged: list[int]) -> Statistic:
    """Mean recall over some classes."""

    def statistic(weights: Floats) -> Floats:
        recalls = [share(trial.right)(weights * (trial.labels == k)) for k in judged]
        return np.asarray(np.mean(recalls, axis=0))

    return statistic


def _independent(home: Trial, abroad: Trial, judged: list[int]) -> Estimate:
    """Home minus abroad: two samples without a common image are resampled on their own."""
    return independent_difference(abroad, _balanced(abroad, judged), home, _balanced(home, judged))


def independent_difference(first: Trial, one: Statistic, second: Trial, two: Statistic) -> Estimate:
    """Return second minus first, of two samples that share no image.

    Returns
    -------
    Estimate
        With the percentile interval of the differences of independent resamples.
    """
    ones = [np.ones((1, len(trial.sample))) for trial in (first, second)]
    value = float((two(ones[1]) - one(ones[0]))[0])
    if first.resamples.n_groups < 2 or second.resamples.n_groups < 2:
        return Estimate(value)
    # Another seed, or the two samples' draws would go up and down together.
    other = group_resamples(second.sample.groups, second.n_resamples, second.seed + 1)
    draws = [
        np.concatenate([figure(weights) for weights in resamples])
        for figure, resamples in ((one, first.resamples), (two, other))
    ]
    return Estimate(value, *percentile_interval(draws[1] - draws[0]))
