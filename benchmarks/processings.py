"""Recall of each class by how its films were processed, and macro-F1 where processing tells no class.

    python benchmarks/processings.py --data DIR

From the answers in ``results/released_weights_radiography_answers.csv`` (test part) and the processing of
each film, which only the dataset's manifest knows. Writes ``results/processings`` as JSON and CSV;
`documents.py` puts the table into ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np
from released_answers import ANSWERS, MODELS, RESAMPLES, RESULTS, SEED, released, stated

from lungcls.audit.table import read_predictions
from lungcls.data import open_radiography
from lungcls.evaluation.results import write_results
from lungcls.evaluation.subgroups import subgroup_rows
from lungcls.render.tables import format_table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must be given")
    start = time.perf_counter()
    known = {record.file: record.processing or "" for record in open_radiography(options.data).records}
    source = released()
    rows: list[dict[str, Any]] = []
    for model in MODELS:
        answers = read_predictions(ANSWERS, model=model).answers
        columns = {"processing": np.asarray([known[file] for file in answers.files])}
        plain = source["reports"][model]["overall"]["macro_f1"]
        rows.append({"model": model, "films": "all", "metric": "macro_f1", "class": "", **plain})
        rows += [{"model": model, **row} for row in subgroup_rows(answers, columns, RESAMPLES, SEED)]
    payload = stated(rows, "python benchmarks/processings.py --data DIR", start)
    write_results(RESULTS, "processings", rows, payload)
    print(format_table(rows))


if __name__ == "__main__":
    main()
