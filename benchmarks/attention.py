"""Where the classifiers look: inside the lungs or outside, and at the radiologists' boxes or past them.

    python benchmarks/attention.py --data DIR [--quick]

DIR holds ``radiography`` with its ``boxes.csv``. Two questions, for each classifier (region of the image):

* On the test films of the split that have boxes, every method is asked for the class Lung_Opacity: does the
  highest point of its map lie in a box (pointing game), and which share of the map lies in the boxes?
* On test films drawn from each class, Grad-CAM is asked for the predicted class: which share of the map lies
  inside the lungs, in each lung and in each third of their height?

Each figure stands beside ``chance`` (an even map over what the network saw), for the boxes also beside
``chance_in_lungs`` (an even map over the lungs, and nothing elsewhere), beside the ``ceiling`` (the most that
a map of this resolution can reach) and beside a network of the same architecture with random weights.
Intervals are bootstrapped by group. Writes ``attention_boxes`` and ``attention_lungs`` as JSON and CSV, and
``attention_answers.csv`` with what was measured on every film; ``--quick`` takes a few films and writes
``attention_quick_*`` instead, to see that all runs.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.evaluation.bootstrap import bootstrap_estimates, group_resamples
from lungcls.evaluation.results import write_csv, write_results
from lungcls.progress import bar
from lungcls.render.tables import format_table
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
TARGET = "Lung_Opacity"
BOX_FIGURES = ("hit", "energy", "lungs")
Film = dict[str, Any]


def measure_boxes(
    pipeline: Any, records: Sequence[Any], root: Path, boxes: Mapping[str, Any], methods: Sequence[str]
) -> list[Film]:
    """Ask a pipeline's classifier where it sees an opacity; one row a film, method and network."""
    from lungcls.explanation import energy_share, explain_predictions, pointing_hit, randomised
    from lungcls.explanation.boxes import box_mask

    classifier = pipeline.classifier
    control = randomised(classifier.module)
    asked = [(method, "trained", None) for method in methods]
    asked += [("gradcam", "random", control)] if "gradcam" in methods else []
    rows = []
    predictions = pipeline.stream([str(root / record.file) for record in records])
    for record, prediction in zip(records, bar(predictions, len(records), f"boxes, {classifier.card.name}")):
        marked = boxes[record.file]
        inside = box_mask(marked, prediction.lungs.mask.shape)
        lungs = prediction.lungs.mask
        for method, network, module in asked:
            start = time.perf_counter()
            (found,) = explain_predictions(
                [prediction], classifier, method=method, target=TARGET, module=module
            )
            seconds = time.perf_counter() - start
            frame, cells = found.frame, (found.grid.shape[0], found.grid.shape[1])
            columns, lines = frame.centres(cells)
            chance = frame.chance(inside)
            in_lungs = float(inside[lungs].mean()) if lungs.any() else 0.0
            rows.append(
                {
                    "classifier": classifier.card.name,
                    "region": classifier.region.name,
                    "method": method,
                    "network": network,
                    "file": record.file,
                    "processing": record.processing,
                    "predicted": prediction.label == TARGET,
                    "fallback": prediction.fallback,
                    "cells": cells[0],
                    "empty": found.empty,
                    "hit": float(pointing_hit(found.peak, marked)),
                    "hit_chance": chance,
                    "hit_chance_in_lungs": in_lungs,
                    "hit_ceiling": float(any(pointing_hit((x, y), marked) for x in columns for y in lines)),
                    "energy": energy_share(found.cam, inside),
                    "energy_chance": chance,
                    "energy_chance_in_lungs": in_lungs,
                    "energy_ceiling": frame.limits(cells, inside)[0],
                    "lungs": found.shares["lungs"],
                    "lungs_chance": found.shares["lungs_chance"],
                    "lungs_ceiling": found.shares["lungs_ceiling"],
                    "boxes_in_lungs": float(lungs[inside].mean()),
                    "seconds": round(seconds, 3),
                }
            )
    return rows


def measure_lungs(pipeline: Any, records: Sequence[Any], root: Path) -> list[Film]:
    """Ask how much of Grad-CAM for the predicted class lies in the lungs; one row a film and network."""
    from lungcls.explanation import explain_predictions, randomised

    classifier = pipeline.classifier
    networks = {"trained": None, "random": randomised(classifier.module)}
    rows = []
    predictions = pipeline.stream([str(root / record.file) for record in records])
    for record, prediction in zip(records, bar(predictions, len(records), f"lungs, {classifier.card.name}")):
        for network, module in networks.items():
            (found,) = explain_predictions([prediction], classifier, module=module)
            rows.append(
                {
                    "classifier": classifier.card.name,
                    "region": classifier.region.name,
                    "method": "gradcam",
                    "network": network,
                    "file": record.file,
                    "class": record.label,
                    "target": found.target,
                    "fallback": prediction.fallback,
                    "empty": found.empty,
                    **found.shares,
                }
            )
    return rows


def summarise(
    films: Sequence[Film],
    groups: Mapping[str, str],
    figures: Sequence[str],
    keys: Sequence[str],
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Average the films of each combination of `keys`; a row a figure, with its interval by group."""
    parts: dict[tuple[Any, ...], list[Film]] = defaultdict(list)
    for film in films:
        parts[tuple(film[key] for key in keys)].append(film)
    rows = []
    for part, members in parts.items():
        drawn = group_resamples([groups[film["file"]] for film in members], resamples, seed)
        values = {name: np.array([film[name] for film in members], np.float64) for name in figures}
        beside = [
            end for end in ("chance", "chance_in_lungs", "ceiling") if f"{figures[0]}_{end}" in members[0]
        ]
        columns = dict(values)
        for name in figures:
            for end in beside:
                if f"{name}_{end}" in members[0]:
                    columns[f"{name}_{end}"] = np.array([film[f"{name}_{end}"] for film in members])
            columns[f"{name}_minus_chance"] = values[name] - columns[f"{name}_chance"]
        for name, estimate in bootstrap_estimates(_means(columns), drawn).items():
            rows.append(
                {
                    **dict(zip(keys, part)),
                    "metric": name,
                    **estimate.to_dict(),
                    "n": len(members),
                    "empty": sum(film["empty"] for film in members),
                }
            )
    return rows


def differences(
    films: Sequence[Film], groups: Mapping[str, str], figures: Sequence[str], resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Compare film by film: each region with the first, and trained with random weights."""
    table = {(f["region"], f["method"], f["network"], f["file"]): f for f in films}
    regions = list(dict.fromkeys(film["region"] for film in films))
    pairs = [
        (f"{other} minus {regions[0]}", (other, method, "trained"), (regions[0], method, "trained"))
        for method in dict.fromkeys(film["method"] for film in films)
        for other in regions[1:]
    ]
    pairs += [
        ("trained minus random", (region, "gradcam", "trained"), (region, "gradcam", "random"))
        for region in regions
    ]
    rows = []
    for name, one, two in pairs:
        files = [key[3] for key in table if key[:3] == one and (*two, key[3]) in table]
        if not files:
            continue
        columns = {
            figure: np.array([table[(*one, f)][figure] - table[(*two, f)][figure] for f in files])
            for figure in figures
        }
        drawn = group_resamples([groups[file] for file in files], resamples, seed)
        for figure, estimate in bootstrap_estimates(_means(columns), drawn).items():
            values = {"comparison": name, "region": one[0], "method": one[1], "metric": figure}
            rows.append({**values, **estimate.to_dict(), "n": len(files)})
    return rows


def _means(columns: Mapping[str, Any]) -> Any:
    """Weighted means; films whose map is empty have no share and take no part in its mean."""

    def statistics(weights: Any) -> dict[str, Any]:
        means = {}
        for name, values in columns.items():
            known = ~np.isnan(values)
            total = weights[:, known].sum(axis=1)
            summed = weights[:, known] @ values[known]
            means[name] = np.divide(summed, total, out=np.full(len(weights), np.nan), where=total > 0)
        return means

    return statistics


def draw(records: Sequence[Any], groups: Mapping[str, str], per_class: int, seed: int) -> list[Any]:
    """Draw films of each class, no two of one group."""
    rng = np.random.default_rng(seed)
    chosen = []
    for label in dict.fromkeys(record.label for record in records):
        own = [record for record in records if record.label == label]
        mixed = [own[i] for i in rng.permutation(len(own))]
        # What is of no known group is a group of its own.
        one_each = {groups[record.file] or record.file: record for record in mixed}
        chosen += list(one_each.values())[:per_class]
    return chosen


def run(options: argparse.Namespace) -> None:
    """Measure both and write the files."""
    from lungcls.data import open_radiography, split_dataset
    from lungcls.explanation import METHODS, read_boxes
    from lungcls.pipeline import Pipeline
    from lungcls.study.study import groups_of

    start = time.perf_counter()
    database = open_radiography(options.data)
    split = split_dataset(database, seed=0)
    test = split.select(database.records, "test")
    groups = dict(zip((record.file for record in test), groups_of(test, split)))
    boxes = read_boxes(database.root)
    boxed = [record for record in test if record.file in boxes]
    sample = draw(test, groups, 3 if options.quick else options.per_class, options.seed)
    if options.quick:
        boxed = boxed[:4]
    on_boxes: list[Film] = []
    on_lungs: list[Film] = []
    cards = {}
    for name in options.classifier or ["classifier-full", "classifier-mask"]:
        # Whether an image is an X-ray was settled when the database was made.
        pipeline = Pipeline(
            classifier=name, segmenter=options.segmenter, device=options.device, engine="torch", gate=None
        )
        cards |= {card.name: card.sha256 for card in (pipeline.segmenter.card, pipeline.classifier.card)}
        on_boxes += measure_boxes(pipeline, boxed, database.root, boxes, options.methods or METHODS)
        on_lungs += measure_lungs(pipeline, sample, database.root)
        device = pipeline.classifier.device
    about = {
        "dataset": database.root.name,
        "part": "test",
        "quick": options.quick,
        "split_hash": split.hash,
        "weights": cards,
        "seed": options.seed,
        "bootstrap": {"resamples": options.resamples, "seed": options.seed, "by": "group"},
        "device": device,
        "versions": versions(),
        "seconds": round(time.perf_counter() - start, 1),
    }
    settings = (options.resamples, options.seed)
    keys = ("classifier", "region", "method", "network")
    rows = summarise(on_boxes, groups, BOX_FIGURES, keys, *settings)
    subsets = {
        f"predicted as {TARGET}": [film for film in on_boxes if film["predicted"]],
        # Films that reached the data set without a contrast stretch or a resizing of their own.
        "processing a and b": [film for film in on_boxes if film["processing"] in ("a", "b")],
    }
    found = {
        **about,
        "films": f"the {len(boxed)} films of the test part that have boxes; the map is that for {TARGET}",
        "boxes_in_lungs": {
            name: float(np.mean([film["boxes_in_lungs"] for film in on_boxes if film["classifier"] == name]))
            for name in dict.fromkeys(film["classifier"] for film in on_boxes)
        },
        "figures": rows,
        "subsets": {
            name: summarise(some, groups, BOX_FIGURES, keys, *settings) for name, some in subsets.items()
        },
        "differences": differences(on_boxes, groups, BOX_FIGURES, *settings),
        "seconds_a_film": {
            method: float(np.median([film["seconds"] for film in on_boxes if film["method"] == method]))
            for method in dict.fromkeys(film["method"] for film in on_boxes)
        },
    }
    stem = "attention_quick" if options.quick else "attention"
    write_results(options.out, f"{stem}_boxes", rows, found)
    shown = [row for row in rows if row["metric"] in ("hit", "energy", "lungs")]
    print(format_table([{k: v for k, v in row.items() if k != "classifier"} for row in shown]))

    parts = ("lungs", "image_left", "image_right", "upper", "middle", "lower")
    rows = summarise(on_lungs, groups, parts, (*keys, "class"), *settings)
    rows += [{**row, "class": "all"} for row in summarise(on_lungs, groups, parts, keys, *settings)]
    found = {
        **about,
        "films": f"{len(sample)} films of the test part, drawn by class, one a group; the map is Grad-CAM "
        "for the predicted class",
        "figures": rows,
        "differences": differences(on_lungs, groups, parts, *settings),
    }
    write_results(options.out, f"{stem}_lungs", rows, found)
    shown = [
        row
        for row in rows
        if row["class"] == "all" and row["metric"] in ("lungs", "lungs_chance", "lungs_ceiling")
    ]
    print(format_table([{k: v for k, v in row.items() if k != "classifier"} for row in shown]))
    answers = [{"question": "boxes", **film} for film in on_boxes]
    answers += [{"question": "lungs", **film} for film in on_lungs]
    write_csv(options.out, f"{stem}_answers", answers)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--classifier", action="append", help="weights; by default the released full and mask"
    )
    parser.add_argument("--segmenter", default="segmenter")
    parser.add_argument("--methods", nargs="+", help="by default all")
    parser.add_argument("--per-class", type=int, default=50, help="films a class for the lungs")
    parser.add_argument("--seed", type=int, default=0, help="of the films drawn and of the bootstrap")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="a few films, to see that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the files")
    options = parser.parse_args(words)
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder that holds radiography")
    run(options)


if __name__ == "__main__":
    main()
