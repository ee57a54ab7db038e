"""The log of experiments behind the released weights: what was changed, what was expected, what came.

    python benchmarks/experiments.py

Reads ``benchmarks/experiments.toml`` and the histories under ``results/training/`` that it names, writes
``results/experiments.json`` and ``.csv``, and the table into ``benchmarks/README.md``. All figures are on the
validation part.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from marks import between_marks

from lungcls.evaluation.results import write_results
from lungcls.render.tables import markdown_table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
README = HERE / "README.md"
NAMES = {"dice": "Dice", "macro_f1": "macro-F1"}


def experiments() -> list[dict[str, Any]]:
    """Return the experiments, each with the figures of its history."""
    stated = tomllib.loads((HERE / "experiments.toml").read_text(encoding="utf-8"))["experiment"]
    rows = []
    for entry in stated:
        path = HERE / "results" / "training" / f"{entry['history']}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            epochs = list(csv.DictReader(file))
        score = next(name for name in epochs[0] if name.startswith("validation_"))
        rows.append(
            {
                **entry,
                "score": score.removeprefix("validation_"),
                "first": float(epochs[0][score]),
                "best": max(float(epoch[score]) for epoch in epochs),
                "epochs": len(epochs),
                "minutes": round(sum(float(epoch["seconds"]) for epoch in epochs) / 60),
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the log out as Markdown."""
    headings = (
        "history",
        "from",
        "changed",
        "expected",
        "best on validation",
        "epochs",
        "minutes",
        "verdict",
    )
    lines = [
        [
            f"`{row['history']}`",
            row["starts_from"],
            row["change"],
            row["expected"],
            f"{NAMES[row['score']]} {row['best']:.4f}",
            str(row["epochs"]),
            str(row["minutes"]),
            row["verdict"],
        ]
        for row in rows
    ]
    return markdown_table(headings, lines)


def with_table(text: str) -> str:
    """Return the README's text with the table put between its two marks."""
    return between_marks(text, "experiments", table(experiments()))


def main() -> None:
    rows = experiments()
    write_results(HERE / "results", "experiments", rows, {"part": "validation", "experiments": rows})
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
