"""``lungcls shortcuts``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Data,
    Device,
    Epochs,
    FilmsPerChange,
    Layout,
    Limit,
    Masks,
    OutFolder,
    Part,
    Recipe,
    Resamples,
    Seed,
    SegmenterName,
    SplitFile,
    Workers,
)
from lungcls.cli.parts import check_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lungcls.data import Dataset
    from lungcls.data.dataset import Record
    from lungcls.lungs import Lungs
    from lungcls.shortcuts.subject import Subject
    from lungcls.shortcuts.trainings import Trainings
    from lungcls.study.study import Study


def shortcuts(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Weights by released name or path, or FILE.py:FUNCTION of a function that returns a "
            "lungcls.shortcuts.Subject (such as ModuleSubject around any torch module)."
        ),
    ],
    data: Data,
    out: OutFolder,
    part: Part = "test",
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    checks: Annotated[
        str,
        typer.Option(
            "--checks",
            help="Checks by number, letter or name, separated by commas, or 'all'; an unknown one makes the "
            "command list them.",
        ),
    ] = "all",
    masks: Masks = "predicted",
    segmenter: SegmenterName = "segmenter",
    external: Annotated[
        list[Path] | None,
        typer.Option("--external", exists=True, help="External set for checks 10 and K; may be repeated."),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            exists=True,
            dir_okay=False,
            help="CSV with file, x0, y0, x1, y1; boxes.csv of the dataset if left out.",
        ),
    ] = None,
    train_checks: Annotated[
        bool, typer.Option("--train-checks", help="Also train what checks 4, 5 and 8 need (hours on a CPU).")
    ] = False,
    recipe: Recipe = "ablation",
    epochs: Epochs = None,
    limit: Limit = 0,
    per_pair: Annotated[
        int, typer.Option("--per-pair", min=1, help="Composites of each pair of classes in check 1.")
    ] = 50,
    films_per_change: FilmsPerChange = 300,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    cache: Cache = None,
    device: Device = "auto",
    workers: Workers = 1,
) -> None:
    """Examine whether models look at the lungs or at where pictures come from: checks with a verdict each."""
    from lungcls.data import Split, open_dataset, open_externals, split_dataset
    from lungcls.evaluation.results import write_results
    from lungcls.evaluation.sampling import limit_records
    from lungcls.explanation import read_boxes
    from lungcls.progress import bar, timed
    from lungcls.render.drawing import new_figure
    from lungcls.shortcuts.check import Audit, choose_checks
    from lungcls.shortcuts.page import write_findings
    from lungcls.shortcuts.subject import load_subject
    from lungcls.shortcuts.suite import examine
    from lungcls.study.study import Study

    tell, names = partial(typer.echo, err=True), checks.split(",")
    choose_checks(names)  # wrong names are told before minutes of work, not after
    check_weights([segmenter], "segmentation")
    new_figure(1, 1)  # as is a missing matplotlib
    database = open_dataset(data, layout=layout, classes=classes)
    database.require_one_class("this suite")
    others = open_externals(external or [])
    subjects = [load_subject(model, device) for model in models]
    chosen = Split.read_csv(split) if split else split_dataset(database, seed=seed, progress=bar)
    records = database.records if part == "all" else chosen.select(database.records, part)
    if limit:
        records = limit_records(records, chosen, limit, seed)
    marked = boxes or database.root / "boxes.csv"
    find = partial(find_masks, masks=masks, segmenter=segmenter, cache=cache or out / "masks", device=device)
    shown = database.records if train_checks else records
    with timed(tell, f"lungs of {len(shown)} films"):
        lungs = find(database, shown)
    study = Study(database, records, lungs, chosen, part, seed, resamples)
    audit = Audit(
        boxes=read_boxes(marked) if marked.is_file() or boxes else {},
        externals={
            name: Study(dataset, dataset.records, find(dataset, dataset.records, masks="predicted"))
            for name, dataset in others.items()
        },
        per_pair=per_pair,
        films_per_change=films_per_change,
        progress=bar,
        tell=tell,
    )
    done = []
    for subject in subjects:
        if train_checks:
            folder = out / "trainings" / subject.region.name  # models of one region share their trainings
            trainings = _trainings(subject, recipe, epochs, study, folder, device, workers)
            audit = replace(audit, trainings=trainings)
        done.append(examine(subject, study, checks=names, audit=audit))
        typer.echo(f"\n{subject.name}, {done[-1].payload['images']} images")
        for note in done[-1].payload["notes"]:
            typer.echo(f"Note: {note}")
        for finding in done[-1].checks:
            typer.echo(f"{finding.verdict:14} {finding.title}\n{'':14} {finding.because}")
        if barred := done[-1].payload["barred"]:
            typer.echo(f"Barred from headlines (check D): {'; '.join(barred)}")
    rows = [row for one in done for row in one.rows()]
    written = [*write_results(out, "shortcuts", rows, {"models": [one.payload for one in done]})]
    written.append(write_findings(out / "shortcuts.html", done))
    typer.echo(f"\nwritten: {', '.join(str(path) for path in written)}")
    typer.echo("The page holds parts of X-rays: keep it on your own disk.")


def find_masks(
    database: Dataset, records: Sequence[Record], masks: str, segmenter: str, cache: Path, device: str
) -> Mapping[str, Lungs]:
    """Return the lungs of films, by the segmenter or as the dataset draws them."""
    from lungcls.data.views import drawn_lungs, find_lungs
    from lungcls.finder import Finder
    from lungcls.progress import bar

    if masks == "truth":
        drawn = [record for record in records if record.mask]
        return drawn_lungs(database, drawn, Finder.load(None, device=device).gate, progress=bar)
    return find_lungs(database, records, Finder.load(segmenter, device=device), cache, progress=bar)


def _trainings(
    subject: Subject, recipe: str, epochs: int | None, study: Study, out: Path, device: str, workers: int
) -> Trainings:
    from lungcls.progress import bar
    from lungcls.recipes import load_recipe
    from lungcls.shortcuts.trainings import Trainings
    from lungcls.study.context import RunContext

    chosen = replace(load_recipe(recipe), region=subject.region)
    if epochs is not None:
        chosen = chosen.cut(epochs)
    assert study.split is not None
    context = RunContext(device=device, workers=workers, progress=bar)
    return Trainings(chosen, study.dataset, study.split, study.lungs, out, context)
