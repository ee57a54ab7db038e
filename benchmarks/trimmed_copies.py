"""What is left of the figures without test films of which a trimmed copy is outside the test part.

    python benchmarks/trimmed_copies.py --data DIR [--audit FILE]

The groups that come with the database miss copies of which an edge was cut off, so that some cross the split
that the released weights were trained with. This finds them (`lungcls data audit --cropped-copies`, minutes;
``--audit`` takes the JSON file of an earlier one, or this script's own) and computes the released
classifiers' macro-F1 again without them, from ``results/released_weights_radiography_answers.csv``. Writes
``results/trimmed_copies.json`` and ``.csv``; `documents.py` puts the table into ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.curation.audit import audit_dataset
from lungcls.data import open_radiography, split_dataset
from lungcls.evaluation.classification import classification_report
from lungcls.evaluation.results import write_results
from lungcls.labels import CLASSES
from lungcls.render.tables import format_table
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
ANSWERS = RESULTS / "released_weights_radiography_answers.csv"


def crossing(audit: dict[str, Any]) -> set[str]:
    """Return the files that an audit found in copies across the parts of the split."""
    return {file for group in audit["across_parts"] for file in group["files"]}


def figures(answers: list[dict[str, str]], left_out: set[str]) -> list[dict[str, Any]]:
    """Macro-F1 of each model on all test films, without those left out, and on those alone."""
    by_model = defaultdict(list)
    for answer in answers:
        by_model[answer["model"]].append(answer)
    rows = []
    for model, found in by_model.items():
        kept = [answer for answer in found if answer["file"] not in left_out]
        lost = [answer for answer in found if answer["file"] in left_out]
        for name, part in (("all", found), ("without them", kept)):
            report = classification_report(
                [CLASSES.index(answer["label"]) for answer in part],
                [[float(answer[label]) for label in CLASSES] for answer in part],
                classes=CLASSES,
                groups=[answer["group"] for answer in part],
            )
            score = report.to_dict()["overall"]["macro_f1"]
            rows.append({"model": model, "test films": name, "n": len(part), "metric": "macro-F1", **score})
        right = [max(CLASSES, key=lambda label: float(answer[label])) == answer["label"] for answer in lost]
        rows.append(
            {"model": model, "test films": "only them", "n": len(lost), "metric": "accuracy",
             "value": float(np.mean(right)) if right else None}
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--audit", type=Path, help="JSON file of `lungcls data audit --cropped-copies`")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder that holds radiography")
    database = open_radiography(options.data)
    split = split_dataset(database, seed=0)
    if options.audit:
        audit = json.loads(options.audit.read_text(encoding="utf-8"))
    else:
        audit = audit_dataset(database, split=split.parts, cropped=True).to_dict()
    with ANSWERS.open(encoding="utf-8", newline="") as file:
        answers = list(csv.DictReader(file))
    files = crossing(audit)
    rows = figures(answers, files)
    payload = {
        "split_seed": 0,
        "split_hash": split.hash,
        "bootstrap": {"resamples": 2000, "seed": 0},
        "versions": versions(),
        "groups_across_parts": len(audit["across_parts"]),
        "files_across_parts": len(files),
        # What the search found; with --audit, this file serves for the next weights.
        "across_parts": [{"files": group["files"]} for group in audit["across_parts"]],
        "rows": rows,
    }
    write_results(RESULTS, "trimmed_copies", rows, payload)
    print(format_table(rows))


if __name__ == "__main__":
    main()
