"""``lungcls data``: look at a dataset before anything is trained on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lungcls.cli.options import Data

app = typer.Typer(help="Download, count, audit and split datasets.", no_args_is_help=True)


@app.command()
def download(
    dataset: Annotated[str, typer.Argument(help="Only 'radiography' is known.")] = "radiography",
) -> None:
    """Download the COVID-19 Radiography Database from Kaggle (needs lungcls[data] and the internet)."""
    from lungcls.data.download import download_radiography
    from lungcls.errors import DataError

    if dataset != "radiography":
        raise DataError(f"unknown dataset {dataset!r}; expected 'radiography'")
    typer.echo(f"The database is in {download_radiography()}")


@app.command()
def summary(
    data: Data,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count images, masks, classes and sources, and what is missing."""
    from lungcls.data import open_radiography

    found = open_radiography(data).summary()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for key, value in found.items():
        if isinstance(value, dict):
            typer.echo(f"{key}:")
            for name, count in value.items():
                typer.echo(f"  {name:32} {count:>7}")
        else:
            typer.echo(f"{key:34} {value:>7}")


@app.command()
def split(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="The CSV file to write.")],
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
) -> None:
    """Split 70/15/15 by class and source; near duplicates and patients never cross."""
    from lungcls.data import open_dataset, split_dataset

    made = split_dataset(open_dataset(data), seed=seed)
    made.write_csv(out)
    counts = ", ".join(f"{count} {part}" for part, count in made.counts().items())
    typer.echo(f"{out}: {counts}; {len(set(made.groups.values()))} groups; hash {made.hash}")


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="Any folder of images.")],
    split_file: Annotated[
        Path | None, typer.Option(help="A split of `lungcls data split`: count what crosses it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The JSON file to write.")] = None,
) -> None:
    """Report duplicates, unreadable files, constant images and mixtures of sizes and modes."""
    from lungcls.data import Split
    from lungcls.data.audit import audit as run
    from lungcls.files import atomic_write

    parts = dict(Split.read_csv(split_file).parts) if split_file else None
    found = run(folder, split=parts)
    typer.echo(found.summary())
    if out is not None:
        with atomic_write(out, "w") as file:
            file.write(json.dumps(found.to_dict(), indent=1) + "\n")
        typer.echo(f"written: {out}")
