"""Smaller variants of both stages beside the released ones: size, parameters, operations, latency, accuracy.

    lungcls train edge-segmenter --data DIR --out RUN1
    lungcls train edge-classifier --data DIR --out RUN2
    python scripts/make_graphs.py RUN1/edge-segmenter.safetensors RUN2/edge-classifier.safetensors
    python benchmarks/edge.py --data DIR --segmenter RUN1/edge-segmenter.safetensors \
        --classifier RUN2/edge-classifier.safetensors [--int8 FOLDER]

FOLDER holds what ``lungcls export segmenter classifier-mask --format openvino --int8`` wrote. Latency is that
of one image from a file, on all cores and in turns, on the engine in the table. Accuracy is that of the test
part. Writes ``benchmarks/results/edge.json`` and ``.csv``.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from speed import Worker, macro_f1

from lungcls.evaluation.results import write_results
from lungcls.progress import bar
from lungcls.render.tables import format_table
from lungcls.versions import versions
from lungcls.weights import count_parameters, find_weights, load_card

RESULTS = Path(__file__).parent / "results"


def variants(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows: name, engine, and the weights of both stages."""
    released, edge = ("segmenter", "classifier-mask"), (options.segmenter, options.classifier)
    rows = [
        ("released, fp32", "openvino", "fp32", released),
        ("released, bf16", "openvino", "bf16", released),
    ]
    if options.int8:
        eight = tuple(str(options.int8 / f"{name}-int8.xml") for name in released)
        rows.append(("released, int8", "openvino", "fp32", eight))
    rows += [
        ("edge, fp32", "openvino", "fp32", edge),
        ("edge, fp32", "onnxruntime", "fp32", edge),
    ]
    return [
        {"name": name, "kind": "lungcls", "weights": weights,
         "options": {"engine": engine, "precision": precision, "segmenter": weights[0],
                     "classifier": weights[1]}}
        for name, engine, precision, weights in rows
    ]  # fmt: skip


def size(weights: str) -> tuple[float, int | None]:
    """Megabytes on disk, and parameters where the file tells."""
    path = find_weights(weights)
    parts = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    count = count_parameters(path) if path.suffix == ".safetensors" else None
    return sum(part.stat().st_size for part in parts) / 1e6, count


def _epochs(weights: str) -> int:
    """How long an edge variant was trained."""
    return sum(stage["epochs"] for stage in load_card(weights).recipe["stages"])


def measure(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run every variant and return the table's rows and the payload."""
    from lungcls.data import open_radiography, split_dataset

    start = time.perf_counter()
    database = open_radiography(options.data)
    split = split_dataset(database, seed=0)
    records = split.select(database.records, "test")
    order = np.random.default_rng(options.seed).permutation(len(records))
    records = [records[index] for index in order[: options.accuracy]]
    files = [str(database.path(record)) for record in records]
    masks = [str(database.root / record.mask) if record.mask else None for record in records]

    workers = [Worker(variant) for variant in variants(options)]
    gaps: list[list[float]] = [[] for _ in workers]
    steps = [(number, index) for number in range(options.rounds + 1) for index in range(len(workers))]
    for number, index in bar(steps, len(steps), "measuring"):
        answer = workers[index].ask("time", files=files[: options.images], source="files", batch=1)
        if number:  # the first round warms up
            gaps[index] += answer["gaps"]
    rows = []
    for worker, found in zip(workers, gaps, strict=True):
        judged = worker.ask("accuracy", files=files, masks=masks)
        sizes = [size(weights) for weights in worker.system["weights"]]
        known = [count for _, count in sizes if count is not None]
        rows.append(
            {
                "variant": worker.system["name"],
                "engine": worker.system["options"]["engine"],
                "MB": sum(megabytes for megabytes, _ in sizes),
                "parameters (M)": sum(known) / 1e6 if len(known) == len(sizes) else None,
                "p50 ms": 1e3 * float(np.median(found)),
                "p95 ms": 1e3 * float(np.quantile(found, 0.95)),
                "macro-F1": macro_f1(judged["labels"], [record.label for record in records]),
                "dice": judged["dice"],
                "peak MiB": worker.ask("peak")["peak_mib"],
            }
        )
        worker.close()
    payload = {
        "seed": options.seed,
        "split_hash": split.hash,
        "part": "test",
        "images": {"judged": len(records), "timed": options.images, "rounds": options.rounds},
        "device": "cpu",
        "cores": os.cpu_count(),
        "epochs": {name: _epochs(getattr(options, name)) for name in ("segmenter", "classifier")},
        "versions": versions(),
        "seconds": round(time.perf_counter() - start, 1),
        "rows": rows,
    }
    return rows, payload


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--segmenter", required=True, help="weights of the small U-Net, with their graph")
    parser.add_argument("--classifier", required=True, help="weights of the small classifier, likewise")
    parser.add_argument("--int8", type=Path, help="folder of the released weights' int8 files")
    parser.add_argument("--images", type=int, default=64, help="images a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accuracy", type=int, default=10**6, help="images of the test part to judge")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the images")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder that holds radiography")
    rows, payload = measure(options)
    print(format_table(rows))
    for path in write_results(RESULTS, "edge", rows, payload):
        print(path)


if __name__ == "__main__":
    main()
