"""Whether the released classifiers' probabilities are as high as they are right, without the bias of the ECE.

    python benchmarks/calibration_errors.py

Computes the debiased calibration errors, their intervals, and the test against perfect calibration, from the
answers in ``results/released_weights_radiography_answers.csv`` (test part). Writes
``results/calibration_errors`` as JSON and CSV, and the table in ``docs/trust.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from marks import between_marks

from lungcls.evaluation.calibration_error import DRAWS, calibration_errors
from lungcls.evaluation.results import write_results
from lungcls.files import atomic_write
from lungcls.render.tables import markdown_table
from lungcls.study.provenance import provenance

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parent.parent / "docs" / "trust.md"
SOURCE = RESULTS / "released_weights_radiography.json"
SEED = 0


def measure() -> None:
    """Compute and write the figures."""
    start = time.perf_counter()
    with (RESULTS / "released_weights_radiography_answers.csv").open(newline="", encoding="utf-8") as file:
        answers = list(csv.DictReader(file))
    source = json.loads(SOURCE.read_text(encoding="utf-8"))
    classes = [name.removeprefix("logit_") for name in answers[0] if name.startswith("logit_")]
    rows: list[dict[str, Any]] = []
    for model in dict.fromkeys(row["model"] for row in answers):
        mine = [row for row in answers if row["model"] == model]
        probabilities = np.asarray([[float(row[name]) for name in classes] for row in mine])
        labels = np.asarray([classes.index(row["label"]) for row in mine])
        groups = [row["group"] for row in mine]
        found = calibration_errors(
            probabilities / probabilities.sum(axis=1, keepdims=True), labels, groups, classes, seed=SEED
        )
        for (metric, name), error in found.items():
            about = {"model": model, "metric": metric, "class": name, "plain": error.plain, "p": error.p}
            rows.append({**about, **error.estimate.to_dict(), "n": len(mine)})
    payload = {
        "rows": rows,
        "part": source["part"],
        "draws": DRAWS,
        "seed": SEED,
        **provenance(start=start),
        "weights": source["weights"],
        "split_hash": source["split_hash"],
        "device": "none: computed from the answers",
    }
    write_results(RESULTS, "calibration_errors", rows, payload)


def table() -> str:
    """Make the table from the result file."""
    found = json.loads((RESULTS / "calibration_errors.json").read_text(encoding="utf-8"))
    lines = [
        [
            f"`{row['model']}`",
            row["metric"],
            f"{row['plain']:.3f}",
            f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            f"{row['p']:.3f}",
        ]
        for row in found["rows"]
        if not row["class"]
    ]
    headings = ["classifier", "figure", "plain", "debiased (95% interval)", "p of perfect calibration"]
    about = (
        f"{found['rows'][0]['n']:,} images of the {found['part']} part, split `{found['split_hash']}`, "
        f"{found['draws']} draws (seed {found['seed']}); `python benchmarks/calibration_errors.py`."
    )
    return f"{markdown_table(headings, lines)}\n\n{about}"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="only write the table")
    if not parser.parse_args().table:
        measure()
    text = between_marks(DOCUMENT.read_text(encoding="utf-8"), "calibration_errors", table())
    with atomic_write(DOCUMENT, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
