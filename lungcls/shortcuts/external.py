"""Check 10: what is left on images of other collections, by source?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from lungcls.evaluation.bootstrap import Estimate, group_resamples, percentile_interval
from lungcls.evaluation.weighted import Floats, Statistic, share
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Check, Verdict, joined, untold
from lungcls.shortcuts.sample import Trial, interval

NAME = "external"
TITLE = "10. External sets, by source"


def external(trial: Trial, others: dict[str, Trial], dropped: dict[str, int]) -> Check:
    """Compare balanced accuracy on external sets with that at home, over the classes that the set has.

    Parameters
    ----------
    trial : Trial
        At home.
    others : dict of str to Trial
        The same model on each external set, by name.
    dropped : dict of str to int
        Images of each set that were left out as near duplicates of training images.

    Returns
    -------
    Check
        Rows: recall of each class and source of each set; balanced accuracy abroad, at home over the same
        classes, and its drop.
    """
    rows: list[dict[str, Any]] = []
    verdicts: list[Verdict] = []
    reasons = []
    for name, abroad in others.items():
        rows += _recalls(name, abroad)
        rows.append({"set": name, "figure": "near_duplicates_left_out", "value": float(dropped.get(name, 0))})
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
        verdicts.append(rules.at_most(drop, rules.EXTERNAL_DROP))
        reasons.append(
            f"{name}: balanced accuracy over {', '.join(trial.subject.classes[k] for k in judged)} falls by "
            f"{drop.value:.2f} ({drop.low:.2f} to {drop.high:.2f}; limit {rules.EXTERNAL_DROP})"
        )
    if not verdicts:
        return untold(NAME, TITLE, "; ".join(reasons) or "no external set was given (--external)", rows)
    return Check(NAME, TITLE, joined(verdicts), "; ".join(reasons), rows)


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
