"""``lungcls shortcuts``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Data,
    Device,
    Epochs,
    Layout,
    Limit,
    OutFolder,
    Part,
    Recipe,
    Resamples,
    Seed,
    SegmenterName,
    SplitFile,
    Workers,
    one_of,
)
from lungcls.cli.parts import check_weights
from lungcls.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lungcls.data import Dataset, Split
    from lungcls.data.dataset import Record
    from lungcls.lungs import Lungs


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
            help="Checks by number or name, separated by commas, or 'all'; an unknown one makes the command "
            "list them.",
        ),
    ] = "all",
    masks: Annotated[
        str,
        typer.Option(
            "--masks",
            callback=one_of("--masks", ("predicted", "truth")),
            help="predicted (by the segmenter) or truth (the dataset's own).",
        ),
    ] = "predicted",
    segmenter: SegmenterName = "segmenter",
    external: Annotated[
        list[Path] | None,
        typer.Option("--external", exists=True, help="External set for check 10; may be repeated."),
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
    resamples: Resamples = 1000,
    seed: Seed = 0,
    cache: Cache = None,
    device: Device = "auto",
    workers: Workers = 1,
) -> None:
    """Examine whether models look at the lungs or at where pictures come from: ten checks, a verdict each."""
    from lungcls.data import Split, open_dataset, open_externals, split_dataset
    from lungcls.evaluation.results import write_results
    from lungcls.evaluation.sampling import limit_records
    from lungcls.explanation import read_boxes
    from lungcls.progress import bar
    from lungcls.render.drawing import new_figure
    from lungcls.shortcuts.page import write_findings
    from lungcls.shortcuts.subject import load_subject
    from lungcls.shortcuts.suite import CHECKS, External, examine

    names = _checks(checks, CHECKS)
    check_weights([segmenter], "segmentation")
    new_figure(1, 1)  # a missing matplotlib is told before minutes of work, not after
    subjects = [load_subject(model, device) for model in models]
    database = open_dataset(data, layout=layout, classes=classes)
    others = open_externals(external or [])
    chosen = Split.read_csv(split) if split else split_dataset(database, seed=seed, progress=bar)
    records = database.records if part == "all" else chosen.select(database.records, part)
    if limit:
        records = limit_records(records, chosen, limit, seed)
    folder = cache or out / "masks"
    found_boxes = boxes or database.root / "boxes.csv"
    known = read_boxes(found_boxes) if found_boxes.is_file() or boxes else None
    lungs = _lungs(database, database.records if train_checks else records, masks, segmenter, folder, device)
    abroad = {
        name: External(other, _lungs(other, other.records, "predicted", segmenter, folder, device))
        for name, other in others.items()
    }
    done = []
    for subject in subjects:
        training = None
        if train_checks:
            training = _trainings(
                subject, recipe, epochs, database, chosen, lungs, out / "trainings", device, workers
            )
        done.append(
            examine(
                subject,
                database,
                records,
                lungs,
                split=chosen,
                part=part,
                checks=names,
                boxes=known,
                externals=abroad,
                training=training,
                per_pair=per_pair,
                n_resamples=resamples,
                seed=seed,
                progress=bar,
            )
        )
        typer.echo(f"\n{subject.name}, {done[-1].payload['images']} images")
        for note in done[-1].payload["notes"]:
            typer.echo(f"Note: {note}")
        for check in done[-1].checks:
            typer.echo(f"{check.verdict:12} {check.title}\n{'':12} {check.because}")
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


def _checks(words: str, known: Sequence[str]) -> list[str]:
    """The checks that ``--checks`` names, by number or by name."""
    if words == "all":
        return list(known)
    numbers = {str(number): name for number, name in enumerate(known, 1)}
    names = [numbers.get(word.strip(), word.strip()) for word in words.split(",")]
    if unknown := [name for name in names if name not in known]:
        listed = ", ".join(f"{number} {name}" for number, name in numbers.items())
        raise OptionError(f"unknown checks {', '.join(unknown)}; the checks are {listed}")
    return names


def _trainings(
    subject: Any,
    recipe: str,
    epochs: int | None,
    database: Dataset,
    split: Split,
    lungs: Mapping[str, Lungs],
    out: Path,
    device: str,
    workers: int,
) -> Any:
    from dataclasses import replace

    from lungcls.progress import bar
    from lungcls.recipes import load_recipe
    from lungcls.shortcuts.trainings import Trainings

    chosen = replace(load_recipe(recipe), region=subject.region)
    if epochs is not None:
        chosen = chosen.cut(epochs)
    # Models of one region share their trainings.
    folder = out / subject.region.name
    return Trainings(chosen, database, split, lungs, folder, device, workers, bar)
