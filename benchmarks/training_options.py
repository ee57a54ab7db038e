"""What each option of a recipe that is meant to raise the released weights does to a small network.

    python benchmarks/training_options.py --data DIR --work DIR [--epochs N] [--size PIXELS]

DIR (``--data``) holds ``radiography``. The same small DenseNet, schedule and seed, with one option at a time,
on the whole image and on the lungs alone, scored on the validation part; the test part is not read. Trainings
go to ``--work``; the same command goes on after a kill. Writes ``results/training_options.json`` and ``.csv``
and the table in ``benchmarks/README.md``. On a GPU, ``--release`` does the same with the released
network and schedule.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from marks import between_marks

from lungcls.data import open_radiography, split_dataset
from lungcls.evaluation.results import write_results
from lungcls.files import atomic_write
from lungcls.recipes import Recipe, load_recipe
from lungcls.regions import Region
from lungcls.render.tables import markdown_table
from lungcls.study.context import RunContext
from lungcls.training import train
from lungcls.weights import load_card

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
REGIONS: Final = {"full": Region("full"), "mask": Region("mask", margin=0.05, dilate=0.01)}
OPTIONS: Final[dict[str, dict[str, Mapping[str, Any]]]] = {
    region: {
        "none": {},
        "no label smoothing": {"label_smoothing": 0.0},
        "no average of weights": {"ema_decay": 0.0},
        "mixup 0.2": {"mixup": 0.2},
        "cutmix 1.0": {"cutmix": 1.0},
        own[0]: own[1],
        f"teacher classifier-{region}": {"teachers": (f"classifier-{region}",)},
    }
    for region, own in {
        "full": ("other surroundings 0.5", {"other_surroundings": 0.5}),
        "mask": ("moving outline 0.03", {"mask_jitter": 0.03}),
    }.items()
}


def recipe_of(region: str, option: str, release: bool, size: int, epochs: int) -> Recipe:
    """Return the recipe of one row: the release's as it is, or the small one at a size."""
    if release:
        return replace(load_recipe(f"release/classifier-{region}"), init="", **OPTIONS[region][option])
    base = load_recipe("ablation-quick")
    stages = (replace(base.stages[0], size=size, epochs=epochs),)
    changes = {"region": REGIONS[region], "input_size": size, "stages": stages, **OPTIONS[region][option]}
    return replace(base, **changes)


def run(options: argparse.Namespace) -> None:
    """Train and score every row, then write the files."""
    started = time.monotonic()
    database = open_radiography(options.data)
    split = split_dataset(database, seed=0)
    rows = []
    for region, choices in OPTIONS.items():
        plain = None
        for option in choices:
            if options.no_teachers and option.startswith("teacher"):
                continue
            recipe = recipe_of(region, option, options.release, options.size, options.epochs)
            folder = options.work / f"{region}-{option}".replace(" ", "-")
            path = train(
                recipe,
                database,
                folder,
                split=split,
                context=RunContext(
                    device=options.device, workers=options.workers, cache=options.cache or options.work
                ),
            )
            card = load_card(path)
            score = card.metrics["validation"]["overall"]["macro_f1"]
            plain = score["value"] if plain is None else plain
            rows.append({"region": region, "option": option, **score, "minus_none": score["value"] - plain})
            print(rows[-1], flush=True)
    payload = {
        "part": "validation",
        "metric": "macro_f1",
        "split_seed": 0,
        "split_hash": split.hash,
        "recipe": recipe.to_dict(),
        "images": card.training_data["images"],
        "versions": card.versions,
        "command": "python benchmarks/training_options.py --data DIR --work DIR "
        f"--epochs {recipe.stages[-1].epochs} --size {recipe.stages[-1].size}"
        + " --no-teachers" * options.no_teachers
        + " --release" * options.release,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "rows": rows,
    }
    write_results(RESULTS, "training_options", rows, payload)


def table() -> str:
    """Make the table of the result file."""
    payload = json.loads((RESULTS / "training_options.json").read_text(encoding="utf-8"))
    recipe, versions = payload["recipe"], payload["versions"]
    stage = recipe["stages"][-1]
    headings = ("region", "option", "macro-F1 on validation (95% interval)", "minus none")
    rows = [
        [
            f"`{row['region']}`",
            row["option"],
            f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            f"{row['minus_none']:+.3f}",
        ]
        for row in payload["rows"]
    ]
    images = sum(payload["images"]["train"].values())
    lines = [
        markdown_table(headings, rows),
        "",
        f"Network `{recipe['model']['model']}` of recipe `{recipe['name']}`, {stage['epochs']} epochs at "
        f"{stage['size']} px over {images:,} images, seed {recipe['seed']}, split `{payload['split_hash']}`, "
        f"{versions['device']}, torch {versions['torch']}. "
        f"Command: `{payload['command']}`.",
    ]
    return "\n".join(lines)


def with_table(text: str) -> str:
    """Return a document's text with the table put between its two marks."""
    return between_marks(text, "training_options", table())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--work", type=Path, default=None, help="folder for the trainings")
    parser.add_argument("--release", action="store_true", help="with the released network and schedule")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument(
        "--no-teachers", action="store_true", help="leave them out: on a CPU they take most of the time"
    )
    parser.add_argument("--cache", type=Path, default=None, help="folder of predicted masks")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only write the table anew from the file")
    options = parser.parse_args()
    if not options.table:
        if options.data is None or options.work is None:
            parser.error("--work, and --data or LUNGCLS_DATA, must be given")
        run(options)
    text = with_table(README.read_text(encoding="utf-8"))
    with atomic_write(README, "w") as file:
        file.write(text)
    print(table())


if __name__ == "__main__":
    main()
