"""The tables of a comparison: a row a model and a row a pair, as values and as text for people."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from lungcls.evaluation.multilabel import FindingsReport
from lungcls.study.compare import Comparison

METRICS: Final = {"accuracy": "accuracy", "macro_f1": "macro-F1", "macro_auroc": "macro AUROC"}
_FINDING_METRICS: Final = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "f1": "F1",
    "recall": "recall",
    "specificity": "specificity",
    "ece": "ECE",
}
_ABOUT: Final = ("network", "region", "input_size", "parameters", "bytes", "latency_ms")


def comparison_values(comparison: Comparison) -> dict[str, Any]:
    """Return all of a comparison in plain types.

    Returns
    -------
    dict
        ``images``, ``groups``, ``bootstrap``; ``models``: one a model, with what it is and costs, ``runs``,
        and for each of :data:`METRICS` and the F1 of each class the value, ``_low`` and ``_high``; ``pairs``:
        one a pair, ``first``, ``second``, the differences (second minus first) of accuracy and macro-F1 with
        intervals over the same resamples, ``macro_f1_p`` and ``macro_f1_p_holm`` of the latter, and McNemar's
        test by group: images that only one classifies rightly, ``p`` and ``p_holm``.
    """
    return {
        "images": comparison.images,
        "groups": comparison.groups,
        "bootstrap": {
            "resamples": comparison.n_resamples, "seed": comparison.seed, "by": "group",
        },
        "models": model_values(comparison),
        "pairs": pair_values(comparison),
    }  # fmt: skip


def model_values(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one row a model; see :func:`comparison_values`."""
    rows = []
    for name, about in comparison.models.items():
        mine = [row for row in comparison.metrics if row["model"] == name]
        more = {key: value for key, value in about.items() if key not in (*_ABOUT, "sha256")}
        row = {"model": name, **{key: about.get(key) for key in _ABOUT}, **more, "runs": mine[0]["seeds"]}
        for figure in mine:
            if figure["metric"] in METRICS and not figure["class"]:
                row |= _ends(figure["metric"], figure)
            elif figure["metric"] == "f1":
                row |= _ends(f"f1 {figure['class']}", figure)
        rows.append(row)
    return rows


def pair_values(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one row a pair; see :func:`comparison_values`."""
    rows = []
    for counts in comparison.differences:
        if counts["test"] != "mcnemar":
            continue
        pair = {key: counts[key] for key in ("first", "second")}
        change = comparison.difference(pair["first"], pair["second"], "bootstrap", "macro_f1")
        rows.append(
            {
                **pair,
                **_ends("accuracy_difference", counts),
                **_ends("macro_f1_difference", change),
                "macro_f1_p": change["p"],
                "macro_f1_p_holm": change["p_holm"],
                "macro_f1_p_is_floor": change["p_is_floor"],
                **{key: counts[key] for key in ("only_first", "only_second", "p", "p_holm")},
            }
        )
    return rows


def model_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Return one row a model, as text."""
    return [
        {
            "model": str(row["model"]),
            "network": _plain(row["network"]),
            "region": _plain(row["region"]),
            "px": _plain(row["input_size"]),
            "runs": str(row["runs"]),
            **{title: estimate(row, metric) for metric, title in METRICS.items()},
            "parameters": "-" if row["parameters"] is None else f"{row['parameters']:,}",
            "MB": "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}",
            "CPU ms": "-" if row["latency_ms"] is None else f"{row['latency_ms']:.1f}",
        }
        for row in model_values(comparison)
    ]


def pair_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Return one row a pair, as text."""
    return [
        {
            "first": str(row["first"]),
            "second": str(row["second"]),
            "accuracy, second minus first": estimate(row, "accuracy_difference"),
            "macro-F1, second minus first": estimate(row, "macro_f1_difference"),
            "only first right": str(row["only_first"]),
            "only second right": str(row["only_second"]),
            "McNemar p": probability(row["p"]),
            "p (Holm)": probability(row["p_holm"]),
        }
        for row in pair_values(comparison)
    ]


def estimate(row: dict[str, Any], name: str, digits: int = 3) -> str:
    """Write a figure of a comparison's row with its interval."""
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]")


def finding_rows(report: FindingsReport) -> list[dict[str, str]]:
    """Return one row a finding, and one of their means, as text."""
    rows = []
    for finding in ("", *report.counts):
        present, absent = report.counts.get(finding, ("-", "-"))
        row = {"finding": finding or "mean", "there": str(present), "not there": str(absent)}
        for metric, title in _FINDING_METRICS.items():
            one = report.estimates[metric, finding]
            values = {metric: one.value, f"{metric}_low": one.low, f"{metric}_high": one.high}
            row[title] = "-" if np.isnan(one.value) else estimate(values, metric)
        rows.append(row)
    return rows


def probability(value: float | None, floor: bool = False) -> str:
    """Write a p value; `floor` where it is the least that so many resamples can show."""
    if value is None:
        return "-"
    return "<0.0001" if value < 1e-4 else f"{'<=' if floor else ''}{value:.4f}"


def _ends(name: str, row: dict[str, Any]) -> dict[str, Any]:
    return {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}


def _plain(value: Any) -> str:
    return "-" if value is None else str(value)
