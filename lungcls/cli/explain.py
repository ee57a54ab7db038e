"""``lungcls explain``: where an X-ray holds what speaks for a class, as figures, maps and tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from lungcls.cli.batch import collect_files, load_pipeline, work
from lungcls.cli.explanations import Explaining
from lungcls.cli.options import Inputs, Out, ValueRange, one_of, takes
from lungcls.errors import OptionError
from lungcls.explanation.explain import check_options
from lungcls.explanation.maps import METHODS
from lungcls.options import PipelineOptions


# The other engines have no gradients.
@takes(PipelineOptions, without=("engine", "precision", "tta", "coverage"))
def explain(
    inputs: Inputs,
    options: PipelineOptions,
    out: Out = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="METHOD",
            callback=one_of("--method", METHODS),
            help=f"{', '.join(METHODS[:-1])} or {METHODS[-1]}.",
        ),
    ] = "gradcam",
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="CLASS", help="Explain this class; the most probable if left out."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", metavar="NAME", help="Layer that a CAM is made from; the last feature map if left out."
        ),
    ] = None,
    value_range: ValueRange = None,
    panels: Annotated[int, typer.Option("--panels", metavar="2|4", help="Panels of a figure.")] = 4,
    npy: Annotated[bool, typer.Option("--npy", help="Write the maps as float32 arrays too.")] = False,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Write no figures.")] = False,
    no_cams: Annotated[bool, typer.Option("--no-cams", help="Write no maps as grey pictures.")] = False,
) -> None:
    """Show where chest X-rays hold what speaks for a class, and how much of it lies inside the lungs.

    Exit code: 0 all done, 1 some inputs failed (each is named, the rest is done), 2 wrong use.
    """
    if panels not in (2, 4):
        raise OptionError(f"--panels is {panels}; expected 2 or 4")
    files = collect_files(inputs, out, value_range)
    pipeline = load_pipeline(replace(options, engine="torch"))
    stage_two = pipeline.classifier
    check_options(stage_two, method, target, layer)
    batch = Explaining(
        "explanations",
        pipeline,
        stage_two.card.classes,
        out,
        value_range,
        method=method,
        target=target,
        layer=layer,
        panels=0 if no_figures else panels,
        cams=not no_cams,
        npy=npy,
    )
    work(files, batch)
