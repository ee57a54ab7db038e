"""Several models on the same films: figures with intervals, and paired tests between models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lungcls.evaluation.bootstrap import Estimate, finite, group_resamples, percentile_interval
from lungcls.evaluation.calibration import MetricValues
from lungcls.evaluation.classification import COVID, classification_metrics
from lungcls.evaluation.operating import specificity_at_sensitivity
from lungcls.evaluation.paired import (
    at_floor,
    delong_test,
    holm,
    macro_delong_test,
    mcnemar_test,
    resampled_p,
)
from lungcls.study.answers import Answers, check_alike

Floats = npt.NDArray[np.float64]
Means = dict[tuple[str, str, str], Floats]

OVERALL: Final = (
    "accuracy",
    "macro_f1",
    "macro_auroc",
    "covid_sensitivity",
    "specificity_at_95_covid_sensitivity",
    "ece",
    "brier",
)
"""Figures over all classes, in the order of the tables; F1 and AUROC of each class stand beside them."""

TESTED: Final = ("accuracy", "macro_f1")
"""Figures whose differences are tested by the bootstrap."""


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    models : dict of str to dict
        What each model is (``about`` of its first run), by name.
    metrics : list of dict
        ``model, metric, class, value, low, high, sd, seeds, n``: the mean over a model's runs, the interval
        of this mean over resamples of groups, and the standard deviation over the runs (None for a single
        one): two different kinds of doubt.
    differences : list of dict
        ``first, second, test, figure, class, value, low, high, p, p_holm, only_first, only_second,
        p_is_floor``, second minus first. Holm's correction runs over all pairs (and classes) of one test.
        Where no resample lies on the other side of 0 (``p_is_floor``), p is at most what is said.
    images, groups, n_resamples, seed : int
    """

    models: dict[str, Mapping[str, Any]]
    metrics: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    images: int
    groups: int
    n_resamples: int
    seed: int

    def difference(self, first: str, second: str, test: str, figure: str) -> dict[str, Any]:
        """Return the row of one test over all classes."""
        wanted = (first, second, test, figure, "")
        keys = ("first", "second", "test", "figure", "class")
        return next(row for row in self.differences if tuple(row[key] for key in keys) == wanted)


def compare(
    models: Mapping[str, Sequence[Answers]],
    *,
    reference: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare models on the same films.

    Parameters
    ----------
    models : mapping of str to sequence of Answers
        The runs of each model, one or several seeds.
    reference : str, optional
        Compare all others with this model alone; by default all pairs are compared. One that is not among
        the models leaves no pair.
    n_resamples : int, default=2000
        Bootstrap resamples by group, the same for all models.
    seed : int, default=0

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        If the models did not answer the same images of the same classes.

    Notes
    -----
    The bootstrap tests differences of means over runs, as the figures are. McNemar's and DeLong's tests need
    one answer a film: they are given probabilities averaged over the runs.
    """
    check_alike([run for runs in models.values() for run in runs])
    first = next(iter(models.values()))[0]
    resamples = group_resamples(first.groups, n_resamples, seed)

    def means(weights: Floats) -> Means:
        metrics: Means = {}
        for name, runs in models.items():
            by_run = [run_metrics(run, weights) for run in runs]
            metrics |= {(name, *key): np.mean([one[key] for one in by_run], axis=0) for key in by_run[0]}
        return metrics

    points = means(np.ones((1, len(first))))
    # With a single group nothing tells how groups differ.
    drawn = [means(weights) for weights in resamples] if resamples.n_groups > 1 else []
    over = {key: np.concatenate([np.empty(0), *(one[key] for one in drawn)]) for key in points}
    return Comparison(
        {name: runs[0].about for name, runs in models.items()},
        _metric_rows(models, points, over),
        _differences(models, _pairs(models, reference), points, over),
        len(first),
        resamples.n_groups,
        n_resamples,
        seed,
    )


def run_metrics(run: Answers, weights: Floats) -> MetricValues:
    """Compute the figures of one run under each row of weights.

    Parameters
    ----------
    run : Answers
    weights : float array [R, N]

    Returns
    -------
    dict
        By (metric, class): :data:`OVERALL` and ``f1`` and ``auroc`` of each class, [R] each.
    """
    classes, probabilities = run.classes, run.probabilities
    metrics = classification_metrics(run.labels, probabilities, weights, classes)
    if COVID in classes:
        k = classes.index(COVID)
        metrics["covid_sensitivity", ""] = metrics["recall", COVID]
        metrics["specificity_at_95_covid_sensitivity", ""] = specificity_at_sensitivity(
            probabilities[:, k], run.labels == k, weights
        )
    wanted = [(metric, "") for metric in OVERALL]
    wanted += [(metric, name) for metric in ("f1", "auroc") for name in classes]
    return {key: metrics[key] for key in wanted if key in metrics}


def _metric_rows(models: Mapping[str, Sequence[Answers]], points: Means, over: Means) -> list[dict[str, Any]]:
    rows = []
    for name, runs in models.items():
        first = runs[0]
        ones = np.ones((1, len(first)))
        by_run = [run_metrics(run, ones) for run in runs]
        support = np.bincount(first.labels, minlength=len(first.classes))
        for metric, of in by_run[0]:
            values = [metrics[metric, of][0] for metrics in by_run]
            value, drawn = float(points[name, metric, of][0]), over[name, metric, of]
            # Resampling makes a calibration error larger: its percentiles are no interval of it.
            told = drawn.size and not np.isnan(value) and metric != "ece"
            ends = percentile_interval(drawn) if told else ()
            rows.append(
                {
                    "model": name,
                    "metric": metric,
                    "class": of,
                    **Estimate(value, *ends).to_dict(),
                    "sd": finite(float(np.std(values, ddof=1))) if len(runs) > 1 else None,
                    "seeds": len(runs),
                    "n": int(support[first.classes.index(of)]) if of else len(first),
                }
            )
    return rows


def _pairs(models: Mapping[str, Any], reference: str | None) -> list[tuple[str, str]]:
    if reference is None:
        return list(combinations(models, 2))
    return [(reference, name) for name in models if name != reference] if reference in models else []


def _differences(
    models: Mapping[str, Sequence[Answers]],
    pairs: Iterable[tuple[str, str]],
    points: Means,
    over: Means,
) -> list[dict[str, Any]]:
    tests: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("mcnemar", "delong", "delong_class", "bootstrap")
    }
    means = {name: np.mean([run.probabilities for run in runs], axis=0) for name, runs in models.items()}

    def add(
        test: str,
        pair: tuple[str, str],
        figure: str,
        ends: Sequence[float],
        p: float,
        of: str = "",
        **more: int,
    ) -> None:
        row: dict[str, Any] = dict(zip(("first", "second"), pair))
        row |= {"test": test, "figure": figure, "class": of}
        row |= {key: finite(value) for key, value in zip(("value", "low", "high"), ends)}
        tests[test].append({**row, "p": finite(p), "p_holm": None, **more})

    for pair in pairs:
        first = models[pair[0]][0]
        one, two = (means[name] for name in pair)
        right = [mean.argmax(axis=1) == first.labels for mean in (one, two)]
        counts = mcnemar_test(right[0], right[1], first.groups)
        changes = {metric: _change(pair, metric, points, over) for metric in TESTED}
        ends, _ = changes["accuracy"]
        only = {"only_first": counts.only_first, "only_second": counts.only_second}
        add("mcnemar", pair, "accuracy", ends, counts.p, "", **only)
        if any(2 <= (first.labels == k).sum() <= len(first) - 2 for k in range(len(first.classes))):
            area = macro_delong_test(first.labels, one, two, first.groups)
            add("delong", pair, "macro_auroc", (area.value, area.low, area.high), area.p)
        for k, name in enumerate(first.classes):
            positive = first.labels == k
            if 2 <= int(positive.sum()) <= len(first) - 2:
                area = delong_test(positive, one[:, k], two[:, k], first.groups)
                add("delong_class", pair, "auroc", (area.value, area.low, area.high), area.p, name)
        ends, p = changes["macro_f1"]
        drawn = over[pair[1], "macro_f1", ""] - over[pair[0], "macro_f1", ""]
        add("bootstrap", pair, "macro_f1", ends, p, p_is_floor=at_floor(drawn))
    for rows in tests.values():
        adjusted = holm([np.nan if row["p"] is None else row["p"] for row in rows])
        for row, p in zip(rows, adjusted):
            row["p_holm"] = finite(p)
    return [row for rows in tests.values() for row in rows]


def _change(
    pair: tuple[str, str], metric: str, points: Means, over: Means
) -> tuple[tuple[float, float, float], float]:
    """Second minus first: value, low, high; and the p value of the same resamples."""
    (first, second), missing = pair, float("nan")
    value = float(points[second, metric, ""][0] - points[first, metric, ""][0])
    changes = over[second, metric, ""] - over[first, metric, ""]
    if not changes.size or np.isnan(value):
        return (value, missing, missing), missing
    return (value, *percentile_interval(changes)), resampled_p(changes)
