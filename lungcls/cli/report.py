"""``lungcls report``."""

from __future__ import annotations

from typing import Annotated

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Data,
    Device,
    Layout,
    OutFolder,
    Part,
    Resamples,
    Seed,
    SegmenterName,
    SplitFile,
)
from lungcls.cli.parts import check_weights


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Folders of `lungcls train`, weight files or released names."),
    ],
    data: Data,
    out: OutFolder,
    part: Part = "test",
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    segmenter: SegmenterName = "segmenter",
    images: Annotated[
        int, typer.Option("--images", min=0, help="Largest number of images in a gallery of mistakes.")
    ] = 24,
    resamples: Resamples = 2000,
    seed: Seed = 0,
    cache: Cache = None,
    device: Device = "auto",
) -> None:
    """Plot and compare trained classifiers: curves, confusion, ROC, mistakes, and tests between pairs."""
    from lungcls.data import Split, open_dataset
    from lungcls.progress import bar
    from lungcls.render.tables import format_table
    from lungcls.reports import write_report
    from lungcls.reports.text import model_rows, pair_rows

    check_weights([segmenter], "segmentation")
    written = write_report(
        list(runs),
        open_dataset(data, layout=layout, classes=classes),
        out,
        part=part,
        split=Split.read_csv(split) if split else None,
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
