"""How well two classes are told by what is no disease: the references beside which a model is put."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lungcls.data.statistics import frame_statistics, lung_statistics, outline_statistics
from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.reading import in_threads
from lungcls.evaluation.weighted import Floats, Statistic, auroc, difference
from lungcls.regions import Mask, Pixels
from lungcls.shortcuts import rules
from lungcls.shortcuts.crossfit import cross_fitted, logistic, trees
from lungcls.shortcuts.sample import Trial

STATISTICS, FRAME, OUTLINE, SOURCE = "lung statistics", "frame", "outline", "source"
REFERENCES: Final = (STATISTICS, FRAME, OUTLINE, SOURCE)

_MEASURES: Final[dict[str, Callable[[tuple[Pixels, Mask]], Floats]]] = {
    STATISTICS: lambda film: lung_statistics(*film),
    FRAME: lambda film: frame_statistics(*film),
    OUTLINE: lambda film: outline_statistics(film[1]),
}


@dataclass(frozen=True, eq=False)
class PairOfClasses:
    """Two classes, within one source or over all, and how well model and references tell them.

    References are boosted trees and a logistic regression, the mean of their ranks: trees alone are weak
    where films are few. They read the numbers of :mod:`lungcls.data.statistics` (and the name of the
    source alone, where all are taken together), cross-fitted by group within these films, and are fitted when
    they are asked for, and once.

    Attributes
    ----------
    trial : Trial
    first, second : int
        Indices of the two classes in the model's order.
    source : str
        Empty for all films of the two classes.
    chosen : bool array [N]
        The films, among those of the trial.
    """

    trial: Trial
    first: int
    second: int
    source: str
    chosen: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """The pair, ``A / B``."""
        return " / ".join(self.trial.subject.classes[k] for k in (self.first, self.second))

    @property
    def words(self) -> str:
        """The pair and where."""
        return f"{self.name} within {self.source}" if self.source else self.name

    def area(self, scores: Floats) -> Statistic:
        """Return the area under the ROC curve of scores [N] as a statistic of these films."""
        of_all = auroc(scores, self.trial.labels == self.second)
        return lambda weights: of_all(weights * self.chosen)

    def margin(self, probabilities: Floats) -> Floats:
        """Return the difference of the logits of the two classes, [N]."""
        logits = np.log(np.maximum(probabilities, 1e-12))
        return np.asarray(logits[:, self.second] - logits[:, self.first])

    def scores(self, reference: str) -> Floats | None:
        """Return the scores [N] of a reference, 0 beside the pair; None where it cannot be fitted."""
        key = (self.first, self.second, self.source, reference)
        if key not in self.trial.kept:
            self.trial.kept[key] = self._fitted(reference)
        scores: Floats | None = self.trial.kept[key]
        return scores

    def told(self, reference: str) -> Estimate | None:
        """Return the area under the ROC curve of a reference; None where it cannot be fitted."""
        scores = self.scores(reference)
        return None if scores is None else self.trial.estimate(self.area(scores))

    def of_model(self) -> Estimate:
        """Return that of the model."""
        return self.trial.estimate(self.area(self.margin(self.trial.probabilities)))

    def above(self, reference: str) -> Estimate | None:
        """Return that of the model minus that of a reference, under the same resamples."""
        scores = self.scores(reference)
        if scores is None:
            return None
        model = self.area(self.margin(self.trial.probabilities))
        return self.trial.estimate(difference(self.area(scores), model))

    def _fitted(self, reference: str) -> Floats | None:
        trial = self.trial
        if reference == SOURCE and self.source:
            return None
        at = np.flatnonzero(self.chosen)
        groups = [trial.sample.groups[i] for i in at]
        positive = trial.labels[at] == self.second
        numbers = _numbers(trial, reference)[at]
        fitted = [cross_fitted(make, numbers, positive, groups, trial.seed) for make in (trees, logistic)]
        known = [one for one in fitted if one is not None]
        if not known:
            return None
        scores = np.zeros(len(trial.labels))
        scores[at] = np.mean(known, axis=0)
        return scores


def pairs_of_classes(trial: Trial) -> list[PairOfClasses]:
    """Return each pair of classes with enough films, over all and within each source that both have."""
    labels = trial.labels
    sources = np.asarray([record.source for record in trial.sample.records])
    found = []
    for a, b in itertools.combinations(range(len(trial.subject.classes)), 2):
        both = np.isin(labels, [a, b])
        for source in ("", *sorted(set(sources[both].tolist()) - {""})):
            chosen = both & (sources == source) if source else both
            if min((labels[chosen] == k).sum() for k in (a, b)) >= rules.MIN_IMAGES:
                found.append(PairOfClasses(trial, a, b, source, chosen))
    return found


def within_sources(trial: Trial) -> list[PairOfClasses]:
    """Return the pairs within one source."""
    return [pair for pair in pairs_of_classes(trial) if pair.source]


def _numbers(trial: Trial, reference: str) -> Floats:
    """The numbers [N, F] that a reference reads, made once."""
    if reference not in trial.kept:
        sample = trial.sample
        films = list(zip(sample.pixels, sample.masks))
        if reference == SOURCE:
            sources = np.asarray([record.source for record in sample.records])
            made = (sources[:, None] == np.unique(sources)).astype(np.float64)
        else:
            made = np.stack(in_threads(_MEASURES[reference], films, f"measuring the {reference}"))
        trial.kept[reference] = made
    numbers: Floats = trial.kept[reference]
    return numbers
