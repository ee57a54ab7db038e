"""``lungcls shortcuts``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcls.cli.options import Classes, Data, Device, Epochs, Layout, MaskCache, SplitOfSeed, Workers

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
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the JSON, CSV and HTML files.")],
    part: Annotated[str, typer.Option(help="Part of the split: test, validation, train or all.")] = "test",
    split_file: SplitOfSeed = None,
    layout: Layout = None,
    classes: Classes = None,
    checks: Annotated[
        str,
        typer.Option(
            help="Checks by name or number, separated by commas, or 'all'; an unknown one makes the "
            "command list them."
        ),
    ] = "all",
    masks: Annotated[
        str, typer.Option(help="predicted (by the segmenter) or truth (the dataset's own).")
    ] = "predicted",
    segmenter: Annotated[str, typer.Option(help="Weights of stage 1.")] = "segmenter",
    external: Annotated[
        list[Path] | None, typer.Option(help="Folder of an external set for check 10; may be repeated.")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="CSV with file, x0, y0, x1, y1; boxes.csv of the dataset if left out.")
    ] = None,
    train_checks: Annotated[
        bool, typer.Option("--train-checks", help="Also train what checks 4, 5 and 8 need (hours on a CPU).")
    ] = False,
    recipe: Annotated[str, typer.Option(help="A classifier's recipe for --train-checks.")] = "ablation",
    epochs: Epochs = None,
    limit: Annotated[
        int, typer.Option(help="Examine only about so many images of each class; 0 takes all.")
    ] = 0,
    per_pair: Annotated[int, typer.Option(help="Composites of each pair of classes in check 1.")] = 50,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples, drawn by group.")] = 1000,
    seed: Annotated[
        int, typer.Option(help="Of the split, where no file is given, and of all that is drawn.")
    ] = 0,
    cache: MaskCache = None,
    device: Device = "auto",
    workers: Workers = 1,
) -> None:
    """Examine whether models look at the lungs or at where pictures come from: ten checks, a verdict each."""
    from lungcls.data import Split, open_dataset, open_externals, split_dataset
    from lungcls.errors import OptionError
    from lungcls.evaluation.results import write_results
    from lungcls.evaluation.sampling import limit_records
    from lungcls.explanation import read_boxes
    from lungcls.progress import bar
    from lungcls.render.drawing import new_figure
    from lungcls.shortcuts.check import Audit, choose_checks
    from lungcls.shortcuts.page import write_findings
    from lungcls.shortcuts.subject import load_subject
    from lungcls.shortcuts.suite import examine
    from lungcls.study.study import Study

    if masks not in ("predicted", "truth"):
        raise OptionError(f"--masks is {masks!r}; expected predicted or truth")
    chosen = checks.split(",")
    choose_checks(chosen)  # wrong names are told before minutes of work, not after
    new_figure(1, 1)  # as is a missing matplotlib
    database = open_dataset(data, layout=layout, classes=classes)
    split = Split.read_csv(split_file) if split_file else split_dataset(database, seed=seed)
    records = database.records if part == "all" else split.select(database.records, part)
    if limit:
        records = limit_records(records, split, limit, seed)
    subjects = [load_subject(model, device) for model in models]
    marked = boxes or database.root / "boxes.csv"
    find = partial(_lungs, masks=masks, segmenter=segmenter, cache=cache or out / "masks", device=device)
    lungs = find(database, database.records if train_checks else records)
    study = Study(database, records, lungs, split, part, seed, resamples)
    audit = Audit(
        boxes=read_boxes(marked) if marked.is_file() or boxes else {},
        externals={
            name: Study(dataset, dataset.records, find(dataset, dataset.records, masks="predicted"))
            for name, dataset in open_externals(external or []).items()
        },
        per_pair=per_pair,
        progress=bar,
    )
    done = []
    for subject in subjects:
        if train_checks:
            folder = out / "trainings" / subject.region.name  # models of one region share their trainings
            trainings = _trainings(subject, recipe, epochs, study, folder, device, workers)
            audit = replace(audit, trainings=trainings)
        done.append(examine(subject, study, checks=chosen, audit=audit))
        typer.echo(f"\n{subject.name}, {done[-1].payload['images']} images")
        for note in done[-1].payload["notes"]:
            typer.echo(f"Note: {note}")
        for finding in done[-1].checks:
            typer.echo(f"{finding.verdict:12} {finding.title}\n{'':12} {finding.because}")
    rows = [row for one in done for row in one.rows()]
    written = [*write_results(out, "shortcuts", rows, {"models": [one.payload for one in done]})]
    written.append(write_findings(out / "shortcuts.html", done))
    typer.echo(f"\nwritten: {', '.join(str(path) for path in written)}")
    typer.echo("The page holds parts of X-rays: keep it on your own disk.")


def _lungs(
    database: Dataset, records: Sequence[Record], masks: str, segmenter: str, cache: Path, device: str
) -> Mapping[str, Lungs]:
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
