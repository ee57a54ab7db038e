"""What it costs that a conformal set follows the order of probabilities: answers that were measured already.

    python benchmarks/ordered_sets.py

A set by class can rule out the second most probable class and keep the third. ``Prediction.set_at`` fills
such gaps, and always holds the most probable class. This compares the sets as the p-values give them, with
the most probable class added, and without gaps, on ``results/released_weights_radiography_answers.csv``.
Writes ``results/ordered_sets.json`` and ``.csv``; `documents.py` puts them into ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lungcls.conformal import in_set, p_values
from lungcls.evaluation.results import write_results
from lungcls.render.tables import format_table
from lungcls.versions import versions
from lungcls.weights import load_card

RESULTS = Path(__file__).parent / "results"
ANSWERS = "released_weights_radiography_answers.csv"
COVERAGES = (0.8, 0.9, 0.95, 0.99)

Members = npt.NDArray[np.bool_]


def kinds_of_sets(probabilities: npt.NDArray[np.float64], inside: Members) -> dict[str, Members]:
    """Return the three kinds of sets of films, each bool [N, K].

    Parameters
    ----------
    probabilities : float64 array [N, K]
    inside : bool array [N, K]
        Which classes the p-values keep.
    """
    rank = (-probabilities).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    with_first = inside | (rank == 0)
    last = np.where(with_first, rank, 0).max(axis=1, keepdims=True)
    return {
        "as the p-values give it": inside,
        "with the most probable class": with_first,
        "without gaps": rank <= last,
    }


def rows_of(name: str, answers: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The coverage and the size of the sets of one classifier."""
    card = load_card(name)
    probabilities = np.array([[float(row[label]) for label in card.classes] for row in answers])
    true = np.array([card.classes.index(row["label"]) for row in answers])
    shares = p_values(probabilities, card.conformal or {}, card.classes)
    rows = []
    for coverage in COVERAGES:
        for kind, members in kinds_of_sets(probabilities, in_set(shares, coverage)).items():
            rows.append(
                {
                    "model": name,
                    "asked": coverage,
                    "set": kind,
                    "holds the true class": round(float(members[np.arange(len(true)), true].mean()), 4),
                    "mean size": round(float(members.sum(axis=1).mean()), 4),
                    "empty": round(float((~members.any(axis=1)).mean()), 4),
                }
            )
    return rows


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with (RESULTS / ANSWERS).open(encoding="utf-8", newline="") as file:
        answers = sorted(csv.DictReader(file), key=lambda row: row["model"])
    rows = [
        row
        for name, mine in itertools.groupby(answers, key=lambda row: row["model"])
        for row in rows_of(name, list(mine))
    ]
    payload = {
        "answers": ANSWERS,
        "films": len({row["file"] for row in answers}),
        "device": "none: the answers are read from the file",
        "versions": versions(),
        "command": "python benchmarks/ordered_sets.py",
        "rows": rows,
    }
    write_results(RESULTS, "ordered_sets", rows, payload)
    print(format_table(rows))


if __name__ == "__main__":
    main()
