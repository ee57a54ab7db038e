"""``lungcls report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lungcls.cli.options import Classes, Data, Device, Layout, MaskCache


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Folders of `lungcls train`, weight files or released names."),
    ],
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page, the plots and the tables.")],
    split: Annotated[str, typer.Option(help="Part to report on: train, validation, test or all.")] = "test",
    split_file: Annotated[
        Path | None, typer.Option(help="A split of `lungcls data split`; by default that of the runs.")
    ] = None,
    layout: Layout = None,
    classes: Classes = None,
    segmenter: Annotated[
        str, typer.Option(help="Weights of stage 1, whose masks cut the regions.")
    ] = "segmenter",
    images: Annotated[int, typer.Option(help="Largest number of images in a gallery of mistakes.")] = 24,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples, drawn by group.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    cache: MaskCache = None,
    device: Device = "auto",
) -> None:
    """Plot and compare trained classifiers: curves, confusion, ROC, mistakes, and tests between pairs."""
    from lungcls.data import Split, open_dataset
    from lungcls.progress import bar
    from lungcls.render.tables import format_table
    from lungcls.reports import write_report
    from lungcls.reports.text import model_rows, pair_rows

    written = write_report(
        list(runs),
        open_dataset(data, layout=layout, classes=classes),
        out,
        part=split,
        split=Split.read_csv(split_file) if split_file else None,
        segmenter=segmenter,
        cache=cache,
        images=images,
        n_resamples=resamples,
        seed=seed,
        device=device,
        progress=bar,
    )
    for note in written.notes:
        typer.echo(note)
    if written.comparison is not None:
        typer.echo(format_table(model_rows(written.comparison)))
        if written.comparison.differences:
            typer.echo(f"\n{format_table(pair_rows(written.comparison))}")
    typer.echo(f"written: {written.page}")
