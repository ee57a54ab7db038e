"""An ablation as Markdown tables, for the terminal and for documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lungcls.render.tables import markdown_table

_HEADINGS: Final = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "macro_auroc": "macro AUROC",
    "covid_sensitivity": "COVID sensitivity",
    "specificity_at_95_covid_sensitivity": "specificity at 95% COVID sensitivity",
    "ece": "ECE",
    "brier": "Brier",
}

Rows = Sequence[dict[str, Any]]


def figures_table(rows: Rows) -> str:
    """One line an arm: each figure with its interval and its standard deviation over seeds."""
    classes = list(dict.fromkeys(row["class"] for row in rows if row["metric"] == "f1"))
    lines = []
    for arm in dict.fromkeys(_arm(row) for row in rows):
        mine = {(row["metric"], row["class"]): row for row in rows if _arm(row) == arm}
        cells = [_figure(mine.get((metric, ""))) for metric in _HEADINGS]
        cells += [_figure(mine.get(("f1", name))) for name in classes]
        lines.append([arm, *cells])
    return markdown_table(["arm", *_HEADINGS.values(), *(f"F1 {name}" for name in classes)], lines)


def differences_table(rows: Rows) -> str:
    """One line an arm: its differences from the whole image, with p values after Holm's correction."""
    lines = []
    for arm in dict.fromkeys(_arm(row) for row in rows):
        mine = {row["test"]: row for row in rows if _arm(row) == arm and row["test"] != "delong_class"}
        counts = mine["mcnemar"]
        lines.append(
            [
                arm,
                _difference(counts),
                f"{counts['only_reference']} / {counts['only_arm']}",
                _difference(mine["delong"]),
                _difference(mine["bootstrap"]),
            ]
        )
    headings = [
        "arm",
        "accuracy (McNemar)",
        "only full / only arm right",
        "macro AUROC (DeLong)",
        "macro-F1 (bootstrap)",
    ]
    return markdown_table(headings, lines)


def swaps_table(rows: Rows, metric: str = "macro_f1") -> str:
    """Rows trained on, columns tested on."""
    chosen = [row for row in rows if row["metric"] == metric]
    trained = list(dict.fromkeys(_arm(row, "trained") for row in chosen))
    tested = list(dict.fromkeys(_arm(row, "tested") for row in chosen))
    values = {(_arm(row, "trained"), _arm(row, "tested")): row["value"] for row in chosen}
    return markdown_table(
        ["trained \\ tested", *tested],
        [[one, *(_number(values.get((one, other))) for other in tested)] for one in trained],
    )


def _arm(row: dict[str, Any], key: str = "arm") -> str:
    masks = row["masks"] if key == "arm" else row[f"{key}_masks"]
    return f"{row[key]} ({masks} masks)" if masks else str(row[key])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _figure(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    text = _number(row["value"])
    if row["low"] is not None:
        text += f" ({_number(row['low'])} to {_number(row['high'])})"
    return text if row["sd"] is None else f"{text}, sd {_number(row['sd'])}"


def _difference(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    p = row["p_holm"]
    # Of a bootstrap without a resample on the other side of 0 the value is the least that it can show.
    sign = "<=" if row.get("p_is_floor") else "="
    chance = "" if p is None else ", p < 0.001" if p < 0.001 else f", p {sign} {p:.3f}"
    return f"{row['value']:+.3f} ({_number(row['low'])} to {_number(row['high'])}){chance}"
