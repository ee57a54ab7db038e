"""How well the classes of one source are told apart, where the source itself tells nothing.

    python benchmarks/same_source.py

From the answers in ``results/released_weights_radiography_answers.csv`` (test part), by the question
``same_source`` of `lungcls audit`; pairs of classes that no source has both of cannot be judged. Writes
``results/same_source`` as JSON and CSV; `documents.py` puts the table into ``README.md``.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from released_answers import ANSWERS, MODELS, RESAMPLES, RESULTS, SEED, stated

from lungcls.audit.table import read_predictions
from lungcls.evaluation.results import write_results
from lungcls.render.tables import format_table
from lungcls.shortcuts.pairs import same_source_pairs


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    start = time.perf_counter()
    rows: list[dict[str, Any]] = []
    untestable: list[str] = []
    for model in MODELS:
        table = read_predictions(ANSWERS, model=model)
        finding = same_source_pairs(table.answers, table.values("source"), SEED, RESAMPLES)
        mine = [row for row in finding.rows if row["source"] != "all"]
        rows += [{"model": model, **row} for row in mine]
        judged = {row["pair"] for row in mine}
        untestable = sorted({row["pair"] for row in finding.rows} - judged)
    payload = stated(rows, "python benchmarks/same_source.py", start, **{"no source has both of": untestable})
    write_results(RESULTS, "same_source", rows, payload)
    print(format_table(rows))


if __name__ == "__main__":
    main()
