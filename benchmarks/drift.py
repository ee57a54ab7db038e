"""How often `lungcls drift` finds films of other collections, and how often it finds what is not there.

    python benchmarks/drift.py --data DIR

The reference is that of the released classifier: 600 films of the validation part of the radiography
database, from which no network learnt. Of each other collection 100 films are drawn again and again; for
false alarms the 600 are dealt out into a reference and 100 films; for shifts of the mix, 100 of them are
drawn in other shares.
Writes ``results/drift`` as JSON and CSV, and the table in ``docs/drift.md``. ``--films`` keeps the numbers of
the films in a folder, from which the rest can be made again in minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from marks import between_marks
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from lungcls.data import open_dataset
from lungcls.drift.compare import compare
from lungcls.drift.reference import FilmStatistics, beside, collect
from lungcls.evaluation.results import write_results
from lungcls.files import atomic_write
from lungcls.pipeline import Pipeline
from lungcls.progress import bar
from lungcls.render.tables import markdown_table
from lungcls.study.provenance import provenance

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parent.parent / "docs" / "drift.md"
OTHERS = ("coronahack", "covid-chestxray-dataset", "montgomery", "shenzhen")
FILMS, LARGEST, SEED = 100, 400, 0
MIX = (0.1, 0.6, 0.2, 0.1)
"""COVID, Lung_Opacity, Normal, Viral Pneumonia: shares of the shifted mix."""

Draw = Callable[[np.random.Generator], tuple[FilmStatistics, FilmStatistics]]


def statistics(pipeline: Pipeline, folder: Path, kept: Path) -> FilmStatistics:
    """Statistics of films of a collection, from `kept` where they are there."""
    path = kept / f"{folder.name}.npz"
    if path.is_file():
        return FilmStatistics.load(path)
    dataset = open_dataset(folder)
    files = [os.fspath(dataset.path(record)) for record in dataset.records]
    if len(files) > LARGEST:
        at = np.random.default_rng(SEED).choice(len(files), LARGEST, replace=False)
        files = [files[i] for i in sorted(at.tolist())]
    answered = bar(pipeline.stream(files, on_error="return"), len(files), folder.name)
    found, _ = collect(answered, pipeline.classifier.card.classes)
    found.save(path)
    return found


def draws(home: FilmStatistics, others: dict[str, FilmStatistics]) -> dict[str, Draw]:
    """What is drawn, by its name."""
    assert home.labels is not None
    by_class = [np.flatnonzero(home.labels == k) for k in range(len(home.classes))]

    def some(rng: np.random.Generator, films: FilmStatistics) -> FilmStatistics:
        return films.of(rng.permutation(len(films))[:FILMS])

    def null(rng: np.random.Generator) -> tuple[FilmStatistics, FilmStatistics]:
        order = rng.permutation(len(home))
        return home.of(order[FILMS:]), home.of(order[:FILMS])

    def mixed(rng: np.random.Generator) -> tuple[FilmStatistics, FilmStatistics]:
        new = np.concatenate([rng.permutation(at)[: round(FILMS * s)] for at, s in zip(by_class, MIX)])
        rest: NDArray[np.int64] = np.setdiff1d(np.arange(len(home)), new)
        return home.of(rest), home.of(new)

    found: dict[str, Draw] = {"no drift (validation part)": null}
    found["other shares of the classes (validation part)"] = mixed
    for name, films in others.items():
        found[name] = lambda rng, films=films: (home, some(rng, films))
    return found


def measure(data: Path, kept: Path, runs: int) -> None:
    """Draw, compare, count and write."""
    start = time.perf_counter()
    pipeline = Pipeline(engine="onnxruntime")
    reference = beside(pipeline.classifier.card.name)
    assert reference is not None, "make it with `lungcls drift DIR --part validation --save FILE`"
    home = FilmStatistics.load(reference)
    others = {name: statistics(pipeline, data / name, kept) for name in OTHERS if (data / name).is_dir()}
    rows: list[dict[str, Any]] = []
    for name, draw in draws(home, others).items():
        rng = np.random.default_rng(SEED)
        count = runs if draw.__name__ == "null" else runs // 4
        found = [compare(*draw(rng), seed=run) for run in bar(range(count), count, name)]
        kinds = Counter(one.kind for one in found)
        alarms = count - kinds["none"]
        low, high = proportion_confint(alarms, count, method="beta")
        rows.append(
            {
                "films": name,
                "value": alarms / count,
                "low": float(low),
                "high": float(high),
                "mix_of_classes": kinds["mix of classes"] / count,
                "unlike": kinds["films"] / count,
                "runs": count,
            }
        )
    payload = {
        "rows": rows,
        "new_films": FILMS,
        "reference_films": len(home),
        "seed": SEED,
        **provenance([pipeline.classifier.card], None, "cpu, onnxruntime", start),
        "split_hash": home.about["split_hash"],
    }
    write_results(RESULTS, "drift", rows, payload)


def table() -> str:
    """Make the table from the result file."""
    found = json.loads((RESULTS / "drift.json").read_text(encoding="utf-8"))
    lines = [
        [
            row["films"],
            f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            f"{row['mix_of_classes']:.3f}",
            f"{row['unlike']:.3f}",
        ]
        for row in found["rows"]
    ]
    headings = ["100 films of", "found (95% interval)", "as a mix of classes", "as films unlike"]
    about = (
        f"{found['rows'][0]['runs']} draws, and {found['rows'][-1]['runs']} of other films, against "
        f"{found['reference_films']:,} films of the validation part, split `{found['split_hash']}`, seed "
        f"{found['seed']}; `python benchmarks/drift.py --data DIR --runs {found['rows'][0]['runs']}`."
    )
    return f"{markdown_table(headings, lines)}\n\n{about}"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--films", type=Path, default=Path("runs/drift"), help="folder for film statistics")
    parser.add_argument("--runs", type=int, default=200, help="a quarter of them of other films")
    parser.add_argument("--table", action="store_true", help="only write the table")
    options = parser.parse_args()
    if not options.table:
        if options.data is None:
            parser.error("--data or LUNGCLS_DATA must name the folder of the datasets")
        measure(Path(options.data), options.films, options.runs)
    text = between_marks(DOCUMENT.read_text(encoding="utf-8"), "drift", table())
    with atomic_write(DOCUMENT, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
