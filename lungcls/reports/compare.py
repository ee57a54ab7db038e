"""Several models on the same images: figures with intervals, and tests between pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lungcls.evaluation.bootstrap import Estimate, finite, group_resamples, percentile_interval
from lungcls.evaluation.classification import classification_metrics
from lungcls.evaluation.paired import holm, mcnemar_test
from lungcls.reports.answers import Answers, check_alike

METRICS: Final = ("accuracy", "macro_f1", "macro_auroc")
_ABOUT: Final = ("network", "region", "input_size", "parameters", "bytes", "latency_ms")


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    models : list of dict
        One a model: ``model``, what the model is and costs, ``runs``, and for each of :data:`METRICS` and the
        F1 of each class the value, ``_low`` and ``_high``.
    pairs : list of dict
        One a pair: ``first``, ``second``, the differences (second minus first) of accuracy and macro-F1 with
        intervals over the same resamples, and McNemar's test: images that only one classifies rightly, ``p``
        and ``p_holm`` (adjusted for the number of pairs).
    images, groups, n_resamples, seed : int
    """

    models: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    images: int
    groups: int
    n_resamples: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain types."""
        return {
            "images": self.images,
            "groups": self.groups,
            "bootstrap": {"resamples": self.n_resamples, "seed": self.seed, "by": "group"},
            "models": self.models,
            "pairs": self.pairs,
        }


def compare(models: Mapping[str, Sequence[Answers]], *, n_resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compare models on the same images.

    Parameters
    ----------
    models : mapping of str to sequence of Answers
        The runs of each model, one or several seeds. Figures are means over a model's runs, their intervals
        those of that mean over images; McNemar's test compares the first runs.
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
    """
    check_alike([one for runs in models.values() for one in runs])
    first = next(iter(models.values()))[0]
    resamples = group_resamples(first.groups, n_resamples, seed)
    keys = [(metric, "") for metric in METRICS] + [("f1", name) for name in first.classes]
    ones = np.ones((1, len(first.files)))
    points = {name: _means(runs, ones, keys) for name, runs in models.items()}
    drawn: dict[str, dict[tuple[str, str], list[npt.NDArray[np.float64]]]] = {
        name: {key: [] for key in keys} for name in models
    }
    for weights in resamples if resamples.n_groups > 1 else ():
        for name, runs in models.items():
            for key, values in _means(runs, weights, keys).items():
                drawn[name][key].append(values)
    over = {
        name: {key: np.concatenate([np.empty(0), *pieces]) for key, pieces in by_key.items()}
        for name, by_key in drawn.items()
    }
    table = []
    for name, runs in models.items():
        row = {"model": name, **{key: runs[0].about.get(key) for key in _ABOUT}, "runs": len(runs)}
        for key in keys:
            label = f"f1 {key[1]}" if key[1] else key[0]
            row |= _interval(label, float(points[name][key][0]), over[name][key])
        table.append(row)
    return Comparison(
        table, _pairs(models, points, over), len(first.files), resamples.n_groups, n_resamples, seed
    )


def _means(
    runs: Sequence[Answers], weights: npt.NDArray[np.float64], keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    found = [classification_metrics(run.labels, run.probabilities, weights, run.classes) for run in runs]
    return {key: np.mean([figures[key] for figures in found], axis=0) for key in keys}


def _pairs(models: Mapping[str, Sequence[Answers]], points: Any, over: Any) -> list[dict[str, Any]]:
    rows = []
    for one, two in combinations(models, 2):
        row: dict[str, Any] = {"first": one, "second": two}
        for metric in METRICS[:2]:
            key = (metric, "")
            value = float(points[two][key][0] - points[one][key][0])
            row |= _interval(f"{metric}_difference", value, over[two][key] - over[one][key])
        right = [models[name][0].predicted == models[name][0].labels for name in (one, two)]
        found = mcnemar_test(*right)
        rows.append({**row, "only_first": found.only_first, "only_second": found.only_second, "p": found.p})
    for row, adjusted in zip(rows, holm([row["p"] for row in rows])):
        row["p_holm"] = adjusted
    return rows


def _interval(label: str, value: float, drawn: npt.NDArray[np.float64]) -> dict[str, float | None]:
    estimate = Estimate(value)
    if drawn.size and np.isfinite(value):
        estimate = Estimate(value, *percentile_interval(drawn))
    ends = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
    return {f"{label}{end}": finite(number) for end, number in ends.items()}
