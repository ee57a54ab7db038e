"""The tables of a comparison for people: figures with their intervals in one cell."""

from __future__ import annotations

from typing import Any

from lungcls.reports.compare import METRICS, Comparison

_TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "macro_auroc": "macro AUROC"}


def model_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Return one row a model, as text."""
    return [
        {
            "model": str(row["model"]),
            "network": _plain(row["network"]),
            "region": _plain(row["region"]),
            "px": _plain(row["input_size"]),
            "runs": str(row["runs"]),
            **{_TITLES[metric]: estimate(row, metric) for metric in METRICS},
            "parameters": "-" if row["parameters"] is None else f"{row['parameters']:,}",
            "MB": "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}",
            "CPU ms": "-" if row["latency_ms"] is None else f"{row['latency_ms']:.1f}",
        }
        for row in comparison.models
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
        for row in comparison.pairs
    ]


def estimate(row: dict[str, Any], name: str, digits: int = 3) -> str:
    """Write a figure of a comparison's row with its interval."""
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]")


def probability(value: float) -> str:
    """Write a p value."""
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def _plain(value: Any) -> str:
    return "-" if value is None else str(value)
