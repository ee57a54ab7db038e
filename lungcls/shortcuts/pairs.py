"""Check 3: are two classes told apart as well within one source as across sources?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate, group_resamples
from lungcls.evaluation.weighted import Floats, Statistic, auroc, difference, estimate
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import UNTOLD, Audit, Check, Finding, Row, Told, joined
from lungcls.shortcuts.sample import Trial, interval
from lungcls.study.answers import Answers


class SameSourcePairs(Check):
    """Measure how well pairs of classes are told apart within one source and across sources.

    Within one source as :func:`same_source_pairs` does; and the gap between the best of the pairs that no
    source has both of and the worst within a source.
    """

    name = "same_source_pairs"
    number = 3
    title = "Pairs of classes within one source, beside pairs that cross sources"
    of_answers = True
    limit = rules.SAME_SOURCE_AUROC
    plot_title = "AUROC of pairs of classes"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['pair']} ({row['source']})" if row["figure"] == "auroc" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if "source" not in trial.columns:
            return self.untold("the dataset names no source")
        areas = _areas(trial.answered, trial.columns["source"], trial.seed, trial.n_resamples)
        told = _told(areas)
        within, across = [one for one in areas if one.source], _crossing(areas)
        if not within or not across:
            return self.finding(*told)
        worst = min(within, key=lambda one: one.found.value)
        best = max(across, key=lambda one: one.found.value)
        gap = trial.estimate(difference(worst.of_all, best.of_all))
        row = {"figure": "gap", "pair": f"{best.pair} minus {worst.pair}", "source": ""}
        because = (
            f"{told.because}; {best.pair}, which crosses sources, is told better by "
            f"{rules.figure_words(gap)}, limit {rules.SAME_SOURCE_GAP:g}"
        )
        verdict = joined([told.verdict, rules.at_most(gap, rules.SAME_SOURCE_GAP)])
        return self.finding(verdict, because, [*told.rows, {**row, **interval(gap, len(trial.sample))}])


def same_source_pairs(answers: Answers, sources: NDArray[np.str_], seed: int, n_resamples: int) -> Told:
    """Tell each pair of classes apart within one source, and over all films beside it.

    Within a source, what tells the source cannot help. What else differs between the classes there (how a
    film was taken, how old its patient is) still can.

    Parameters
    ----------
    answers : Answers
    sources : str array [N]
        "" where it is not known.
    seed : int
    n_resamples : int
        Of the bootstrap by group.

    Returns
    -------
    Told
        A row a pair and source ("all" for all films): the area under the ROC curve of the difference of the
        two classes' logits.
    """
    return _told(_areas(answers, sources, seed, n_resamples))


@dataclass(frozen=True)
class _Area:
    """How well a pair is told; `source` is empty for all films, `of_all` takes weights of all films."""

    pair: str
    source: str
    n: int
    found: Estimate
    of_all: Statistic


def _areas(answers: Answers, sources: NDArray[np.str_], seed: int, n_resamples: int) -> list[_Area]:
    areas = []
    for one, two in itertools.combinations(range(len(answers.classes)), 2):
        for source in (*sorted(set(sources.tolist()) - {""}), ""):
            mine = [(answers.labels == k) & ((sources == source) | (source == "")) for k in (one, two)]
            if min(int(chosen.sum()) for chosen in mine) < rules.MIN_IMAGES:
                continue
            at = np.flatnonzero(mine[0] | mine[1])
            area = auroc(answers.logits[at, one] - answers.logits[at, two], mine[0][at])

            def of_all(weights: Floats, area: Statistic = area, at: NDArray[np.intp] = at) -> Floats:
                return area(weights[:, at])

            resamples = group_resamples([answers.groups[i] for i in at.tolist()], n_resamples, seed)
            pair = f"{answers.classes[one]} / {answers.classes[two]}"
            areas.append(_Area(pair, source, len(at), estimate(area, resamples), of_all))
    return areas


def _crossing(areas: list[_Area]) -> list[_Area]:
    """The pairs that no source has both of, over all films."""
    within = {one.pair for one in areas if one.source}
    return [one for one in areas if one.pair not in within]


def _told(areas: list[_Area]) -> Told:
    rows = [
        {"figure": "auroc", "pair": one.pair, "source": one.source or "all", **interval(one.found, one.n)}
        for one in areas
    ]
    crossing = ", ".join(one.pair for one in _crossing(areas))
    unjudged = f"; no source has both of {crossing}: these pairs cannot be judged" if crossing else ""
    within = [one for one in areas if one.source]
    if not within:
        why = f"no source has {rules.MIN_IMAGES} films of each of two classes{unjudged}"
        return Told(UNTOLD, why, rows)
    worst = min(within, key=lambda one: one.found.value)
    because = (
        f"lowest AUROC within a source: {worst.pair} in {worst.source} {rules.figure_words(worst.found)}; "
        f"at least {rules.SAME_SOURCE_AUROC:g} asked"
        f"{rules.size_words(worst.found, rules.SAME_SOURCE_AUROC, worst.n)}{unjudged}"
    )
    verdict = rules.all_at_least([one.found for one in within], rules.SAME_SOURCE_AUROC)
    return Told(verdict, because, rows)
