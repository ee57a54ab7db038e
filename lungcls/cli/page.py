"""``lungcls page``: a page that answers in the browser, and uploads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lungcls.cli.lazy import Commands
from lungcls.cli.parts import check_weights
from lungcls.export.page import build_page
from lungcls.labels import NOTICE

app = typer.Typer(cls=Commands, add_completion=False)

_WEIGHTS = "NAME|PATH"


@app.callback()
def _page() -> None:
    """Build a page that answers in the browser, and uploads nothing."""


@app.command("build")
def build(
    out: Annotated[Path, typer.Option("-o", "--out", file_okay=False, help="Folder for the page.")],
    classifier: Annotated[
        str, typer.Option("--classifier", metavar=_WEIGHTS, help="Weights of stage 2.")
    ] = "classifier-mask",
    segmenter: Annotated[
        str, typer.Option("--segmenter", metavar=_WEIGHTS, help="Weights of stage 1.")
    ] = "segmenter",
    fallback: Annotated[
        str,
        typer.Option(
            "--fallback",
            metavar="auto|NAME|PATH|none",
            help="What answers for whole films, without two lungs; none lets the classifier itself.",
        ),
    ] = "auto",
    gate: Annotated[
        str,
        typer.Option("--gate", metavar=_WEIGHTS, help="Weights of the check that an image is a chest X-ray."),
    ] = "gate",
    coverage: Annotated[
        float,
        typer.Option(
            "--coverage", metavar="SHARE", help="How often the conformal set shall hold the true class."
        ),
    ] = 0.9,
) -> None:
    """Build the page: plain files for any web server. Needs npm, and a network the first time.

    Exit code: 0 done, 2 wrong use.
    """
    check_weights([segmenter], "segmentation")
    check_weights([gate], "gate")
    check_weights([classifier, *([] if fallback in ("auto", "none") else [fallback])], "classification")
    size = build_page(
        out,
        segmenter=segmenter,
        classifier=classifier,
        fallback=None if fallback == "none" else fallback,
        gate=gate,
        coverage=coverage,
    )
    typer.echo(f"{out / 'index.html'} ({size / 1e6:.1f} MB in all)")
    typer.echo(f"Try it: python -m http.server --bind 127.0.0.1 --directory {out}")
    typer.echo(NOTICE)
