"""``lungcls data``: look at a dataset before anything is trained on it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from lungcls.cli.lazy import Commands
from lungcls.cli.options import Classes, Layout, OptionalData, Seed
from lungcls.cli.renamed import say_renamed
from lungcls.errors import OptionError
from lungcls.progress import bar

if TYPE_CHECKING:
    from lungcls.curation.audit import Audit
    from lungcls.curation.survey import Survey
    from lungcls.data import Dataset

app = typer.Typer(help="Download, count, audit, split and draw datasets.", cls=Commands, add_completion=False)

# Once the folder was named without --data.
Folder: TypeAlias = Annotated[Path | None, typer.Argument(hidden=True)]
Cropped: TypeAlias = Annotated[
    bool, typer.Option("--cropped-copies", help="Look for copies of which a part was cut off, too (slow).")
]


@app.command()
def download(
    dataset: Annotated[str, typer.Argument(help="Only 'radiography' is known.")] = "radiography",
) -> None:
    """Download the COVID-19 Radiography Database from Kaggle (needs the extra "data" and the internet)."""
    from lungcls.data.download import download_radiography

    if dataset != "radiography":
        raise OptionError(f"unknown dataset {dataset!r}; expected 'radiography'")
    typer.echo(f"The database is in {download_radiography()}")


@app.command()
def summary(
    folder: Folder = None,
    data: OptionalData = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", file_okay=False, help="Read all files, and write all tables as CSV and JSON here."
        ),
    ] = None,
    layout: Layout = None,
    classes: Classes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count images, masks, classes and sources, and what is missing."""
    dataset = _open(folder, data, layout, classes)
    if out is None:
        _print(dataset.summary(), as_json)
        return
    from lungcls.curation.plots import make_charts, write_tables

    survey = _survey(dataset, 0)
    written = write_tables(survey, out, make_charts(survey))
    _print(survey.summary(), as_json)
    typer.echo(f"written: {len(written)} files in {out}", err=as_json)


@app.command()
def plots(
    folder: Folder = None,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", file_okay=False, help="Folder for the pictures, the tables and index.html."
        ),
    ] = Path("data-plots"),
    data: OptionalData = None,
    layout: Layout = None,
    classes: Classes = None,
    augment_to: Annotated[
        int | None,
        typer.Option(
            "--augment-to",
            min=1,
            help="Images a class that augmentation would fill up to; the largest class by default.",
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Draw classes, sources, grey values, samples, copies, masks, and a page (needs the extra "plots")."""
    from lungcls.curation.plots import make_charts, write_plots
    from lungcls.render.drawing import require_matplotlib

    require_matplotlib()  # before minutes are spent on reading images
    survey = _survey(_open(folder, data, layout, classes), seed)
    charts = make_charts(survey, augment_to=augment_to, seed=seed)
    written = write_plots(survey, out, charts, progress=bar)
    bad = len(survey.audit.unreadable) + len(survey.audit.constant)
    if bad:
        typer.echo(f"lungcls: {bad} files cannot be used; {out / 'problems.csv'} lists them", err=True)
    typer.echo(f"{len(charts)} pictures and their tables are written; open {written[-1]}")


@app.command()
def split(
    out: Annotated[Path, typer.Option("-o", "--out", dir_okay=False, help="The CSV file to write.")],
    folder: Folder = None,
    data: OptionalData = None,
    layout: Layout = None,
    classes: Classes = None,
    seed: Seed = 0,
    official: Annotated[
        bool,
        typer.Option(
            "--official", help="Take the dataset's own split, and make what it lacks of validation."
        ),
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", dir_okay=False, help="File for the near duplicates found, to look for them only once."
        ),
    ] = None,
    cropped: Cropped = False,
) -> None:
    """Split 70/15/15 by class and source; near duplicates and patients never cross."""
    from lungcls.data import absent_classes, crossing, official_split, split_dataset

    dataset = _open(folder, data, layout, classes)
    if official:
        assignment = official_split(dataset, seed=seed, cache=cache, progress=bar)
    else:
        assignment = split_dataset(dataset, seed=seed, cache=cache, cropped=cropped, progress=bar)
    assignment.write_csv(out)
    counts = ", ".join(f"{count} {part}" for part, count in assignment.counts().items())
    typer.echo(f"{out}: {counts}; {len(set(assignment.groups.values()))} groups; hash {assignment.hash}")
    for part, names in absent_classes(assignment, dataset).items():
        typer.echo(f"Note: the part {part} holds no image of {', '.join(names)}", err=True)
    leaks = crossing(assignment)
    if leaks:
        typer.echo(
            f"Note: {len(leaks)} groups ({sum(map(len, leaks))} images) of copies or of one patient lie in "
            "more than "
            f"one part of this split, such as {', '.join(leaks[0][:3])}",
            err=True,
        )
    for note in dataset.notes:
        typer.echo(f"Note: {note}", err=True)


@app.command()
def audit(
    folder: Folder = None,
    data: OptionalData = None,
    split: Annotated[
        Path | None,
        typer.Option(
            "--split",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="A split of `lungcls data split`: count what crosses it.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", dir_okay=False, help="The JSON file to write.")
    ] = None,
    layout: Layout = None,
    cropped: Cropped = False,
) -> None:
    """Report duplicates, unreadable files, constant images and mixtures of sizes and modes."""
    from lungcls.data import Split
    from lungcls.files import write_json

    parts = dict(Split.read_csv(split).parts) if split else None
    findings = _audit(_named(folder, data), layout, parts, cropped)
    typer.echo(findings.summary())
    if out is not None:
        write_json(out, findings.to_dict())
        typer.echo(f"written: {out}")


def _open(folder: Path | None, data: Path | None, layout: str | None, classes: str | None) -> Dataset:
    from lungcls.data import open_dataset

    # scikit-learn's word for classes too small for every part; absent_classes says it in ours.
    warnings.filterwarnings("ignore", "The least populated class", UserWarning)
    return open_dataset(_named(folder, data), layout=layout, classes=classes)


def _named(folder: Path | None, data: Path | None) -> Path:
    if folder is not None:
        say_renamed(str(folder), f"--data {folder}")
    chosen = folder or data
    if chosen is None:
        raise OptionError("no dataset is named: give its folder with --data, or set LUNGCLS_DATA")
    return chosen


def _audit(
    folder: Path,
    layout: str | None,
    parts: Mapping[str, str] | None,
    cropped: bool,
) -> Audit:
    """Audit a folder with the classes and parts of the dataset in it, or any other by its folders."""
    from lungcls.curation.audit import audit as run
    from lungcls.curation.audit import audit_dataset
    from lungcls.data import open_dataset
    from lungcls.errors import DataError

    try:
        dataset = open_dataset(folder, layout=layout)
    except DataError:
        if layout is not None or not folder.is_dir():
            raise
        return run(folder, split=parts, cropped=cropped, progress=bar)
    if dataset.root != folder:
        return audit_dataset(dataset, split=parts, cropped=cropped, progress=bar)
    # Files that the dataset does not name are looked at as well; they have no class.
    own = {record.file: record.part for record in dataset.records if record.part}
    classes = {record.file: record.label for record in dataset.records}
    return run(folder, split=parts or own or None, classes=classes, cropped=cropped, progress=bar)


def _survey(dataset: Dataset, seed: int) -> Survey:
    from lungcls.curation.survey import take_survey

    return take_survey(dataset, seed=seed, progress=bar)


def _print(values: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values, indent=1, ensure_ascii=False))
        return
    for key, value in values.items():
        if isinstance(value, dict):
            if value:
                typer.echo(f"{key}:")
            for name, count in value.items():
                shown = ", ".join(f"{k} {v}" for k, v in count.items()) if isinstance(count, dict) else count
                typer.echo(f"  {name:32} {shown:>7}")
        elif isinstance(value, list):
            for item in value:
                typer.echo(f"{key}: {item}")
        else:
            typer.echo(f"{key:34} {value:>7}")
