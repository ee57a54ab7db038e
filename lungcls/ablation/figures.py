"""The figures of an ablation: each run's, and each arm's difference from the whole image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import bootstrap_estimates, finite, group_resamples
from lungcls.evaluation.calibration import Figures, softmax
from lungcls.evaluation.classification import COVID, classification_metrics
from lungcls.evaluation.operating import specificity_at_sensitivity
from lungcls.evaluation.paired import (
    Difference,
    bootstrap_difference,
    delong_test,
    holm,
    macro_delong_test,
    mcnemar_test,
)
from lungcls.evaluation.weighted import macro_f1, share

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

OVERALL: Final = (
    "accuracy",
    "macro_f1",
    "macro_auroc",
    "covid_sensitivity",
    "specificity_at_95_covid_sensitivity",
    "ece",
    "brier",
)
"""Figures over all classes, in the order of the tables; F1 of each class stands beside them."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What the models of one arm, one a seed, answer on the test part when shown one arm's views.

    Attributes
    ----------
    arm : str
        That the models were trained on.
    masks : str
        Whose lung masks cut the views: ``predicted``, ``truth``, or empty where none are needed.
    logits : dict of int to float64 array [N, K]
        By seed, divided by the model's temperature.
    """

    arm: str
    masks: str
    logits: dict[int, Floats] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Arm and masks in one word."""
        return f"{self.arm}-{self.masks}" if self.masks else self.arm

    def probabilities(self) -> list[Floats]:
        """Return the probabilities of each seed, [N, K] each."""
        return [softmax(self.logits[seed]) for seed in sorted(self.logits)]

    def mean_probabilities(self) -> Floats:
        """Return the probabilities averaged over the seeds, [N, K]: one answer an image for paired tests."""
        mean: Floats = np.mean(self.probabilities(), axis=0)
        return mean


def run_metrics(labels: Labels, probabilities: Floats, weights: Floats, classes: Sequence[str]) -> Figures:
    """Compute the figures of one model under each row of weights.

    Parameters
    ----------
    labels : int array [N]
    probabilities : float array [N, K]
    weights : float array [R, N]
    classes : sequence of str, length K

    Returns
    -------
    dict
        By (metric, class): :data:`OVERALL` and ``f1`` and ``auroc`` of each class, [R] each.
    """
    figures = classification_metrics(labels, probabilities, weights, classes)
    if COVID in classes:
        k = list(classes).index(COVID)
        figures["covid_sensitivity", ""] = figures["recall", COVID]
        figures["specificity_at_95_covid_sensitivity", ""] = specificity_at_sensitivity(
            probabilities[:, k], labels == k, weights
        )
    wanted = [(metric, "") for metric in OVERALL]
    wanted += [(metric, name) for metric in ("f1", "auroc") for name in classes]
    return {key: figures[key] for key in wanted if key in figures}


def arm_rows(
    answers: Iterable[Answers],
    labels: Labels,
    groups: Sequence[Any],
    classes: Sequence[str],
    n_resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return the figures of each arm: ``arm, masks, metric, class, value, low, high, sd, seeds, n``.

    value is the mean over seeds, low and high the interval of this mean over resamples of groups, sd the
    standard deviation over seeds (None for a single one): the two are different kinds of doubt.
    """
    rows = []
    resamples = group_resamples(groups, n_resamples, seed)
    support = np.bincount(labels, minlength=len(classes))
    for one in answers:
        models = one.probabilities()

        def statistics(weights: Floats, models: list[Floats] = models) -> dict[tuple[str, str], Floats]:
            each = [run_metrics(labels, model, weights, classes) for model in models]
            return {key: np.mean([figures[key] for figures in each], axis=0) for key in each[0]}

        estimates = bootstrap_estimates(statistics, resamples)
        ones = np.ones((1, len(labels)))
        seeds = [run_metrics(labels, model, ones, classes) for model in models]
        for (metric, name), estimate in estimates.items():
            spread = (
                np.std([figures[metric, name][0] for figures in seeds], ddof=1) if len(seeds) > 1 else None
            )
            rows.append(
                {
                    "arm": one.arm,
                    "masks": one.masks,
                    "metric": metric,
                    "class": name,
                    **estimate.to_dict(),
                    "sd": None if spread is None else finite(float(spread)),
                    "seeds": len(seeds),
                    "n": int(support[list(classes).index(name)]) if name else len(labels),
                }
            )
    return rows


def difference_rows(
    reference: Answers,
    others: Sequence[Answers],
    labels: Labels,
    groups: Sequence[Any],
    classes: Sequence[str],
    n_resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Compare each arm with a reference, on probabilities averaged over the seeds.

    Returns
    -------
    list of dict
        ``arm, masks, test, figure, class, value, low, high, p, p_holm, only_reference, only_arm``.
        Differences are arm minus reference. Holm's correction runs over all arms (and classes) of one test.
    """
    base = reference.mean_probabilities()
    resamples = group_resamples(groups, n_resamples, seed)
    tests: dict[str, list[dict[str, Any]]] = {
        "mcnemar": [],
        "delong": [],
        "delong_class": [],
        "bootstrap": [],
    }

    def add(test: str, one: Answers, figure: str, found: Difference, name: str = "", **more: Any) -> None:
        row: dict[str, Any] = {
            "arm": one.arm,
            "masks": one.masks,
            "test": test,
            "figure": figure,
            "class": name,
        }
        row |= {key: finite(getattr(found, key)) for key in ("value", "low", "high", "p")}
        tests[test].append({**row, "p_holm": None, **more})

    for one in others:
        own = one.mean_probabilities()
        right = [values.argmax(1) == labels for values in (base, own)]
        discordant = mcnemar_test(*right)
        accuracy = bootstrap_difference(share(right[0]), share(right[1]), resamples)
        add(
            "mcnemar",
            one,
            "accuracy",
            Difference(accuracy.value, accuracy.low, accuracy.high, discordant.p),
            only_reference=discordant.only_first,
            only_arm=discordant.only_second,
        )
        add("delong", one, "macro_auroc", macro_delong_test(labels, base, own, groups))
        for k, name in enumerate(classes):
            if 2 <= int((labels == k).sum()) <= len(labels) - 2:
                found = delong_test(labels == k, base[:, k], own[:, k], groups)
                add("delong_class", one, "auroc", found, name)
        add(
            "bootstrap",
            one,
            "macro_f1",
            bootstrap_difference(
                macro_f1(labels, base.argmax(1), len(classes)),
                macro_f1(labels, own.argmax(1), len(classes)),
                resamples,
            ),
        )
    for rows in tests.values():
        adjusted = holm([np.nan if row["p"] is None else row["p"] for row in rows])
        for row, p in zip(rows, adjusted):
            row["p_holm"] = finite(p)
    return [row for rows in tests.values() for row in rows]


def swap_rows(
    answers: Mapping[str, Answers],
    tested: Mapping[str, Mapping[int, Floats]],
    labels: Labels,
    groups: Sequence[Any],
    classes: Sequence[str],
    n_resamples: int,
    seed: int,
    view: str,
    masks: str,
) -> list[dict[str, Any]]:
    """Return the figures of models of each arm shown the views of one arm (`view`, cut with `masks`)."""
    found = []
    for name, by_seed in tested.items():
        one = Answers(answers[name].arm, answers[name].masks, dict(by_seed))
        rows = arm_rows([one], labels, groups, classes, n_resamples, seed)
        for row in rows:
            if row["metric"] in ("accuracy", "macro_f1", "macro_auroc"):
                found.append(
                    {
                        "trained": row["arm"],
                        "trained_masks": row["masks"],
                        "tested": view,
                        "tested_masks": masks,
                    }
                    | {key: row[key] for key in ("metric", "value", "low", "high", "sd", "seeds", "n")}
                )
    return found
