"""All reference recipes and lungcls on one grouped split, with an equal budget of images seen.

    python benchmarks/reference_systems.py --data DIR [--quick]

DIR holds ``radiography`` and, where present, ``coronahack``. Each network is trained on the whole image and
on the lungs alone, three seeds where a GPU is at hand and one otherwise; validation chooses the epoch, the
test part is looked at once. A killed run goes on where it stopped. Writes ``reference_systems*`` as JSON, CSV
and Markdown under ``benchmarks/results/``. ``--quick`` does the same in about a quarter of an hour on two CPU
cores: few images, one seed, the references on the whole image only; its files are called
``reference_systems_quick*`` and their figures say nothing but that the road is whole.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lungcls.data import Dataset, Split, open_dataset, split_dataset
from lungcls.data.offline import wanted_counts
from lungcls.files import atomic_write
from lungcls.progress import bar
from lungcls.recipes import Recipe, load_recipe
from lungcls.regions import Region
from lungcls.render.tables import format_table
from lungcls.reports.measure import measure
from lungcls.reports.text import estimate, pair_values, probability
from lungcls.reports.write import write_comparison
from lungcls.study.answers import Answers
from lungcls.study.compare import Comparison, compare
from lungcls.study.context import RunContext
from lungcls.study.study import Study
from lungcls.versions import versions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
RESULTS = HERE / "results"
REFERENCES = ("cnn-4conv", "cnn-strided", "cnn-vgg-bn", "cnn-3conv-512", "mobilenet-v2")
FROM_IMAGENET = "mobilenet-v2-finetune"
OURS = ("full", "mask")
LUNGS = Region("mask", margin=0.05, dilate=0.01)


@dataclass(frozen=True)
class Entry:
    """One line of the table: a recipe, whatever its seed."""

    name: str
    recipe: Recipe
    lungs_only: bool
    ours: bool


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    images_seen: int
    seeds: int
    subset: Mapping[str, int] | None
    lungs: bool
    ours: str
    imagenet: bool


def entries(plan: Plan) -> list[Entry]:
    """The lines of the table for the four classes."""
    names = [*REFERENCES, *([FROM_IMAGENET] if plan.imagenet else [])]
    found = [Entry(name, load_recipe(f"reference/{name}"), False, False) for name in names]
    if plan.lungs:
        found += [
            Entry(f"{one.name}, lungs only", replace(one.recipe, region=LUNGS), True, False) for one in found
        ]
    return found + [ours(region, plan) for region in OURS]


def ours(region: str, plan: Plan) -> Entry:
    """Our two-stage model, from scratch like the others."""
    folder = "" if plan.ours == "base" else f"{plan.ours}/"
    recipe = load_recipe(f"{folder}classifier-{region}")
    return Entry(f"lungcls {region}", replace(recipe, init=""), region != "full", True)


def coronahack_entries(plan: Plan) -> list[Entry]:
    """The lines of the table for the three classes of CoronaHack."""
    vgg = load_recipe("reference/cnn-vgg-bn")
    return [Entry("cnn-vgg-bn", vgg, False, False), ours("full", plan)]


def budgeted(recipe: Recipe, images_seen: int, in_an_epoch: int) -> Recipe:
    """Give a recipe the epochs in which it sees so many images, spread over its stages as they are.

    No early stop, since all shall see as many; and an average of weights whose memory is a tenth of the steps
    at most, or a short run would keep its first weights.
    """
    total = max(1, round(images_seen / in_an_epoch))
    stages = recipe.stages[-total:]
    ends = np.cumsum([stage.epochs for stage in stages]) / sum(stage.epochs for stage in stages) * total
    counts = np.diff(np.maximum(np.rint(ends), np.arange(1, len(stages) + 1)), prepend=0).astype(int)
    counts[-1] += total - counts.sum()
    steps = images_seen / recipe.batch_size
    return replace(
        recipe,
        stages=tuple(replace(stage, epochs=int(n)) for stage, n in zip(stages, counts) if n > 0),
        patience=0,
        ema_decay=min(recipe.ema_decay, max(0.0, 1 - 10 / steps)),
    )


def images_in_an_epoch(recipe: Recipe, dataset: Dataset, split: Split) -> int:
    """Training images, with the copies that the recipe adds."""
    labels = np.asarray([dataset.classes.index(r.label) for r in split.select(dataset.records, "train")])
    counts = np.bincount(labels, minlength=len(dataset.classes))
    wanted = wanted_counts(labels, recipe.offline, dataset.classes)
    return int(sum(max(count, wanted.get(index, 0)) for index, count in enumerate(counts)))


def subset_of(dataset: Dataset, split: Split, sizes: Mapping[str, int], seed: int = 0) -> Split:
    """Keep some images of each part, each class in its share (but at least two)."""
    rng = np.random.default_rng(seed)
    kept: dict[str, str] = {}
    for part, size in sizes.items():
        records = split.select(dataset.records, part)
        for name in dataset.classes:
            files = [record.file for record in records if record.label == name]
            count = min(len(files), max(2, round(size * len(files) / len(records))))
            kept.update((str(file), part) for file in rng.choice(files, count, replace=False))
    return Split(kept, {file: split.groups[file] for file in kept})


def run(
    entry: Entry,
    seed: int,
    dataset: Dataset,
    split: Split,
    plan: Plan,
    work: Path,
    options: argparse.Namespace,
) -> tuple[Answers, int]:
    """Train one entry with one seed and answer the test part, or read what an earlier call found."""
    from lungcls.training import train

    recipe = budgeted(entry.recipe, plan.images_seen, images_in_an_epoch(entry.recipe, dataset, split))
    recipe = replace(recipe, seed=seed)
    # The layer sizes of the reference networks follow the classes of the dataset; ours state theirs.
    recipe = replace(recipe, model={key: v for key, v in recipe.model.items() if key != "classes"})
    folder = folder_of(entry, seed, work)
    weights = train(
        recipe, dataset, folder, split=split,
        context=RunContext(
            device=options.device, workers=options.workers, cache=work / "masks", progress=bar
        ),
    )  # fmt: skip
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    seen = recipe.epochs * images_in_an_epoch(recipe, dataset, split)
    known = folder / "answers.json"
    if known.is_file():
        return read_answers(known, entry.name), seen
    from lungcls.finder import Finder

    # All images of the split, as in training: the lungs are in the cache.
    inside = [record for record in dataset.records if record.file in split.parts]
    finder = Finder.load(recipe.segmenter if recipe.needs_masks else None, device=options.device)
    study = Study.open(
        dataset, finder, records=inside, split=split, part="test", cache=work / "masks", progress=bar
    ).of(split.select(dataset.records, "test"))
    answers = measure(study, weights, name=entry.name, device=options.device, progress=bar)
    save_answers(known, answers)
    return answers, seen


def folder_of(entry: Entry, seed: int, work: Path) -> Path:
    return work / f"{entry.name} seed {seed}".replace(", ", " ").replace(" ", "-")


def training_seconds(folder: Path) -> float:
    """Time of a run's epochs, whichever call of this script they fell into."""
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file))


def save_answers(path: Path, answers: Answers) -> None:
    values = {
        "classes": answers.classes,
        "files": answers.files,
        "groups": answers.groups,
        "labels": answers.labels.tolist(),
        "probabilities": answers.probabilities.round(6).tolist(),
        "about": dict(answers.about),
    }
    with atomic_write(path, "w") as file:
        file.write(json.dumps(values) + "\n")


def read_answers(path: Path, name: str) -> Answers:
    values = json.loads(path.read_text(encoding="utf-8"))
    return Answers(
        name,
        tuple(values["classes"]),
        tuple(values["files"]),
        tuple(values["groups"]),
        np.asarray(values["labels"], np.int64),
        np.log(np.maximum(np.asarray(values["probabilities"], np.float64), 1e-12)),
        about=values["about"],
    )


def table(
    title: str,
    lines: Sequence[Entry],
    dataset: Dataset,
    plan: Plan,
    name: str,
    options: argparse.Namespace,
) -> tuple[str, Comparison]:
    """Run all lines on one dataset and write their files; return the Markdown."""
    split = split_dataset(dataset, seed=0)
    if plan.subset is not None:
        split = subset_of(dataset, split, plan.subset)
    work = options.work / name
    found: dict[str, list[Answers]] = {}
    seen: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for line in lines:
        for seed in range(plan.seeds):
            print(f"{time.strftime('%H:%M:%S')} {title}: {line.name}, seed {seed}", flush=True)
            answers, seen[line.name] = run(line, seed, dataset, split, plan, work, options)
            found.setdefault(line.name, []).append(answers)
            spent = training_seconds(folder_of(line, seed, work))
            seconds[line.name] = seconds.get(line.name, 0.0) + spent
    for model, runs in found.items():
        about = {
            **runs[0].about,
            "images_seen": seen[model],
            "training_seconds": round(seconds[model], 1),
            **{
                f"{metric}_by_seed": [figure(run, metric) for run in runs]
                for metric in ("accuracy", "macro_f1", "macro_auroc")
            },
        }
        found[model] = [replace(runs[0], about=about), *runs[1:]]
    comparison = compare(found, n_resamples=options.resamples)
    about = {
        "dataset": dataset.title,
        "classes": dataset.classes,
        "part": "test",
        "split_hash": split.hash,
        "images_by_part": split.counts(),
        "images_seen": plan.images_seen,
        "seeds": list(range(plan.seeds)),
        "quick": plan.subset is not None,
        "recipes": {line.name: line.recipe.to_dict() for line in lines},
        "device": device_name(options.device),
        "versions": versions(),
        "seconds": round(sum(seconds.values()), 1),
        "command": command(options),
    }
    texts = write_comparison(options.results, comparison, about, name)
    counts = ", ".join(f"{part} {count:,}" for part, count in split.counts().items())
    parts = [
        f"## {title}",
        f"Split `{split.hash}` ({counts} images), {plan.images_seen:,} images seen by each, "
        f"{plan.seeds} seed(s), {comparison.n_resamples:,} bootstrap resamples of {comparison.groups:,} "
        f"groups, {about['device']}, {sum(seconds.values()) / 60:.0f} minutes of training.",
        format_table(next(iter(texts.values()))),
        differences(lines, comparison),
    ]
    return "\n\n".join(part for part in parts if part), comparison


def command(options: argparse.Namespace) -> str:
    """What was called, as far as it changes the figures."""
    values = {
        "--images-seen": options.images_seen,
        "--coronahack-images-seen": options.coronahack_images_seen,
        "--seeds": options.seeds,
    }
    if not options.quick:
        values["--ours"] = options.ours
    flags = {"--quick": options.quick, "--imagenet": options.imagenet}
    words = [flag for flag, given in flags.items() if given]
    words += [f"{name} {value}" for name, value in values.items() if value is not None]
    return " ".join(["python benchmarks/reference_systems.py --data DIR", *words])


def figure(answers: Answers, metric: str) -> float:
    """A plain figure of one seed."""
    from lungcls.evaluation.classification import classification_metrics

    ones = np.ones((1, len(answers.files)))
    found = classification_metrics(answers.labels, answers.probabilities, ones, answers.classes)
    return round(float(found[metric, ""][0]), 6)


def differences(lines: Sequence[Entry], comparison: Comparison) -> str:
    """Ours against each reference that sees as much: the paired difference and whether it is above 0."""
    rows = []
    pairs = pair_values(comparison)
    for line in lines:
        for other in lines:
            if not line.ours or other.ours or line.lungs_only != other.lungs_only:
                continue
            pair = next(p for p in pairs if {p["first"], p["second"]} == {line.name, other.name})
            signed = dict(pair)
            if pair["first"] == line.name:  # the pair says second minus first
                value, low, high = (pair[f"macro_f1_difference{end}"] for end in ("", "_low", "_high"))
                ends = (-value, None if high is None else -high, None if low is None else -low)
                signed |= dict(zip((f"macro_f1_difference{end}" for end in ("", "_low", "_high")), ends))
            p = pair["macro_f1_p_holm"]
            above = p is not None and p < 0.05 and signed["macro_f1_difference"] > 0
            rows.append(
                {
                    "ours": line.name,
                    "reference": other.name,
                    "macro-F1, ours minus reference": estimate(signed, "macro_f1_difference"),
                    "p (Holm)": probability(p, pair.get("macro_f1_p_is_floor", False)),
                    "above 0": "yes" if above else "no",
                    "McNemar p (Holm)": probability(pair["p_holm"]),
                }
            )
    return format_table(rows)


def reported() -> str:
    """What the projects report of themselves, as Markdown."""
    figures = tomllib.loads((HERE / "reference_figures.toml").read_text(encoding="utf-8"))["figure"]
    rows = [
        {
            "recipe": row["recipe"],
            "reports": f"{row['value']:.2%} {row['metric']}",
            "on": row["on"],
            "beside ours": row["why"],
        }
        for row in figures
    ]
    return "## What those projects report\n\n" + format_table(rows)


def device_name(device: str) -> str:
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"cpu, {torch.get_num_threads()} threads"


def main() -> None:
    # Lightning sets its own log level when it is imported: first, so that ours holds.
    import lightning.pytorch
    import torch

    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--quick", action="store_true", help="a trial of the whole road on few images")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/reference-systems"), help="folder of the runs"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--images-seen", type=int, help="budget of each run (150,000; quick 1,000)")
    parser.add_argument(
        "--coronahack-images-seen", type=int, help="that of CoronaHack, a smaller set (the same if left out)"
    )
    parser.add_argument("--seeds", type=int, help="3 with a GPU, else 1")
    parser.add_argument(
        "--ours",
        choices=("base", "release", "release-cpu"),
        default="release" if gpu else "release-cpu",
        help="which recipes of ours (quick: base)",
    )
    parser.add_argument("--imagenet", action="store_true", help="also from ImageNet's weights (downloaded)")
    parser.add_argument("--only", nargs="*", help="names of lines to run, for a trial")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2) if gpu else 1)
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder that holds radiography")
    logging.getLogger(lightning.pytorch.__name__).setLevel(logging.WARNING)
    plan = Plan(
        images_seen=options.images_seen or (1_000 if options.quick else 150_000),
        seeds=options.seeds or (3 if gpu and not options.quick else 1),
        subset={"train": 250, "validation": 100, "test": 400} if options.quick else None,
        lungs=not options.quick,
        ours="base" if options.quick else options.ours,
        imagenet=options.imagenet,
    )
    name = "reference_systems" + "_quick" * options.quick
    data = Path(options.data)
    jobs = [("Four classes", plan, entries(plan), open_dataset(data, layout=None), name)]
    if (data / "coronahack").is_dir():
        hack = open_dataset(data / "coronahack")
        smaller = replace(plan, images_seen=options.coronahack_images_seen or plan.images_seen)
        lines = coronahack_entries(smaller)
        jobs.append(("CoronaHack, three classes", smaller, lines, hack, f"{name}_coronahack"))
    sections = []
    for title, budget, lines, dataset, stem in jobs:
        chosen = [line for line in lines if not options.only or line.name in options.only]
        if chosen:
            sections.append(table(title, chosen, dataset, budget, stem, options)[0])
    if options.quick:
        sections.insert(0, "A trial on few images: these figures say nothing about the networks.")
    with atomic_write(options.results / f"{name}.md", "w") as file:
        file.write("\n\n".join([*sections, reported()]) + "\n")
    print(f"written: {options.results / name}.md and the files beside it")


if __name__ == "__main__":
    main()
