"""``lungcls paper``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lungcls.cli.options import Classes, Layout, OutFolder
from lungcls.errors import OptionError


def paper(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Folders or JSON files of `lungcls train`, `evaluate`, `shortcuts` and `ablate`, split "
            "files, weight "
            "files or released names.",
        ),
    ],
    out: OutFolder,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder of the dataset: for table one by source, age and sex, and its description."
        ),
    ] = None,
    layout: Layout = None,
    classes: Classes = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Which of several classifiers the paper is about.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--formats", metavar="md,csv,docx", help="Of checklists and tables.")
    ] = "md,csv,docx",
) -> None:
    """Fill CLAIM, TRIPOD+AI, STARD-AI and METRICS from a run, with methods, tables, figures and references.

    Nothing is made up: an item is filled from a file, left to you, or does not apply. No film is read.
    """
    from lungcls.data import open_dataset
    from lungcls.paper import write_paper
    from lungcls.paper.paper import FORMATS

    chosen = tuple(word for word in formats.split(",") if word)
    unknown = [word for word in chosen if word not in FORMATS]
    if unknown or not chosen:
        raise OptionError(f"--formats is {formats!r}; expected some of {','.join(FORMATS)}")
    if (layout or classes) and not data:
        raise OptionError("--layout and --classes say how to read the dataset; name it with --data")
    dataset = open_dataset(data, layout=layout, classes=classes) if data else None
    written = write_paper(runs, out, dataset=dataset, model=model, formats=chosen)
    for name, states in written.states.items():
        typer.echo(f"{name}: {', '.join(f'{count} {state}' for state, count in states.items())}")
    for note in written.notes:
        typer.echo(f"Note: {note}")
    typer.echo(f"written: {written.page}")
