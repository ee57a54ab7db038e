"""Own classes: `lungcls finetune` beside training from scratch and beside features that saw no X-ray.

    python benchmarks/finetune.py --data DIR [--films 1000] [--epochs N] [--work DIR]

DIR is a folder with ``coronahack`` and ``radiography``. The task is CoronaHack's bacterial, viral and normal
films of children. Films that have a near duplicate in radiography, on whose training part the released
features were learnt, are left out. All systems see the same views of the lungs, and are trained, calibrated
and tested on the same split by patient and near duplicates:

- finetuned: what `lungcls finetune` makes; frozen features: its first half, a linear model of the features;
- from scratch: the same network, recipe and number of epochs, all layers, at another rate (1e-3);
- torchxrayvision: the features of its DenseNet architecture without its weights (which are not had offline),
  with the same linear model: what a user starts from who has no weights at all.

Writes ``benchmarks/results/finetune.json`` and ``.csv``. Seconds are wall time, with the number of threads
and the machine's load beside them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungcls.classifier import Classifier
from lungcls.data import open_dataset, open_radiography, split_dataset
from lungcls.data.dataset import Dataset
from lungcls.data.duplicates import find_near_duplicates
from lungcls.data.splits import Split
from lungcls.data.views import region_views
from lungcls.evaluation.calibration import fit_temperature
from lungcls.evaluation.evaluate import classification_on
from lungcls.evaluation.results import write_results
from lungcls.evaluation.sampling import limit_records
from lungcls.features import view_features
from lungcls.finder import Finder
from lungcls.models.layers import head
from lungcls.progress import bar
from lungcls.render.tables import format_table
from lungcls.study.context import RunContext
from lungcls.study.study import Study
from lungcls.training import train
from lungcls.training.finetune import finetune, finetune_recipe
from lungcls.training.probe import fit_classes
from lungcls.versions import versions
from lungcls.weights import load_card

RESULTS = Path(__file__).parent / "results"
CLASSES = {
    "Pneumonia/bacteria/NA": "Bacterial",
    "Pneumonia/Virus/NA": "Viral",
    "Normal/NA/NA": "Normal",
}
START = "classifier-mask"
METRICS = ("accuracy", "macro_f1", "macro_auroc", "ece")


def films(root: Path, count: int, seed: int, cache: Path) -> tuple[Dataset, Split, dict[str, int]]:
    """The films of the task that the released features cannot have seen, and their split."""
    dataset = open_dataset(root / "coronahack", classes=CLASSES)
    other = open_radiography(root)
    paths = [*(dataset.path(r) for r in dataset.records), *(other.path(r) for r in other.records)]
    clusters = find_near_duplicates(paths, cache=cache / "both.npz", progress=bar).clusters
    seen = set(clusters[len(dataset) :].tolist())
    left = [r for r, cluster in zip(dataset.records, clusters.tolist()) if cluster not in seen]
    facts = {"films_of_the_set": len(dataset), "with_a_copy_in_radiography": len(dataset) - len(left)}
    dataset = dataset.only(left)
    split = split_dataset(dataset, seed=seed, cache=cache / "duplicates.npz", progress=bar)
    per_class = count // len(dataset.classes)
    dataset = dataset.only(limit_records(dataset.records, split, per_class, seed))
    return dataset, split.only(record.file for record in dataset.records), facts


def measured(study: Study, classifier: Classifier, validation: Study | None = None) -> dict[str, Any]:
    """Figures on the test part; the temperature is fitted on the validation part where it was not yet."""
    answers = study.answers(classifier, bar)
    card = classifier.card
    if validation is not None:
        held = validation.answers(classifier, bar)
        answers = replace(answers, temperature=fit_temperature(held.logits, held.labels))
    report = classification_on(answers, card, study.n_resamples, study.seed)
    return {metric: report.overall[metric].to_dict() for metric in METRICS}


def without_weights(parts: dict[str, Study], seed: int) -> Classifier:
    """torchxrayvision's architecture as it is made, with a linear model of its features."""
    import torchxrayvision as xrv

    torch.manual_seed(seed)
    classes = parts["train"].dataset.classes
    module = xrv.models.DenseNet(weights=None, num_classes=len(classes), in_channels=1)
    # What it is made for: pixels from -1024 to 1024.
    classifier = Classifier.of_module(
        module, region=load_region(), classes=classes, input_size=224, mean=0.5, std=1 / 2048
    )
    features, labels = {}, {}
    for part in ("train", "validation"):
        study = parts[part]
        views = region_views(study.films, classifier.region, 224, bar)
        starts = range(0, len(views), 32)
        features[part] = np.concatenate(
            [view_features(classifier, views[at : at + 32]) for at in bar(starts, len(starts), part)]
        ).astype(np.float64)
        labels[part] = study.labels(classifier.card)
    weight, bias = fit_classes(features, labels, True)
    (last,) = head(module)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(weight))  # type: ignore[operator, union-attr]
        last.bias.copy_(torch.from_numpy(bias))  # type: ignore[operator, union-attr]
    return classifier


def load_region() -> Any:
    """What the released classifier sees."""
    from lungcls.regions import Region

    return Region(**(load_card(START).region or {}))


def run(options: argparse.Namespace, work: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Train and measure all systems."""
    context = RunContext(device="cpu", workers=0, cache=work, progress=bar)
    dataset, split, facts = films(options.data, options.films, options.seed, work)
    seconds: dict[str, float] = {}

    start = time.perf_counter()
    finder = Finder.load(device="cpu")
    whole = Study.open(dataset, finder, cache=work, split=split, progress=bar, n_resamples=1000)
    seconds["finding the lungs"] = time.perf_counter() - start
    parts = {
        part: replace(whole, records=split.select(dataset.records, part), part=part)
        for part in ("train", "validation", "test")
    }

    start = time.perf_counter()
    found = finetune(
        dataset,
        work / "finetuned",
        start=START,
        split=split,
        seed=options.seed,
        epochs=options.epochs,
        n_resamples=10,
        context=context,
    )
    seconds["finetuned"] = time.perf_counter() - start
    figures = {
        "finetuned": measured(parts["test"], Classifier.load(found.weights, "cpu")),
        "frozen features": measured(parts["test"], Classifier.load(str(found.frozen), "cpu")),
    }

    recipe = finetune_recipe(load_card(START), START, dataset, name="scratch", seed=options.seed)
    recipe = recipe if options.epochs is None else recipe.cut(options.epochs)
    stages = tuple(replace(stage, train="all") for stage in recipe.stages)
    recipe = replace(recipe, init="", stages=stages, learning_rate=1e-3, patience=0)
    start = time.perf_counter()
    scratch = train(recipe, dataset, work / "scratch", split=split, context=context)
    seconds["from scratch"] = time.perf_counter() - start
    figures["from scratch"] = measured(parts["test"], Classifier.load(scratch, "cpu"))

    start = time.perf_counter()
    theirs = without_weights(parts, options.seed)
    seconds["torchxrayvision, no weights"] = time.perf_counter() - start
    figures["torchxrayvision, no weights"] = measured(parts["test"], theirs, parts["validation"])

    rows = [
        {"system": system, "metric": metric, **value}
        for system, values in figures.items()
        for metric, value in values.items()
    ]
    epochs = {
        name: len((work / folder / "history.csv").read_text(encoding="utf-8").splitlines()) - 1
        for name, folder in (("finetuned", "finetuned"), ("from scratch", "scratch"))
    }
    payload = {
        "dataset": dataset.title,
        **facts,
        "films": {
            part: dict(sorted(Counter(r.label for r in study.records).items()))
            for part, study in parts.items()
        },
        "seed": options.seed,
        "split_hash": split.hash,
        "epochs": epochs,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load_of_the_machine": [round(value, 1) for value in os.getloadavg()],
        "device": "cpu",
        "weights": {START: load_card(START).sha256},
        "versions": versions(),
        "figures": figures,
    }
    return rows, payload


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="Folder for the runs, to go on after a kill.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows, payload = run(options, options.work or Path(temporary))
    write_results(RESULTS, "finetune", rows, payload)
    print(format_table(rows))
    print(payload["seconds"])


if __name__ == "__main__":
    main()
