"""``lungcls explain``: where an X-ray holds what speaks for a class, as figures, maps and tables."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lungcls.cli.options import (
    BatchSize,
    Device,
    Inputs,
    Megapixels,
    OnBadMask,
    Out,
    RegionName,
    SegmenterName,
    ValueRange,
)
from lungcls.cli.running import collect_files, load_pipeline, work
from lungcls.errors import OptionError


def explain(
    inputs: Inputs,
    out: Out = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="gradcam, gradcam++, hirescam, layercam, integrated_gradients or occlusion.",
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
    region: RegionName = None,
    classifier: Annotated[
        str | None, typer.Option("--classifier", metavar="NAME|PATH", help="Weights of stage 2.")
    ] = None,
    segmenter: SegmenterName = "segmenter",
    device: Device = "auto",
    batch_size: BatchSize = 16,
    on_bad_mask: OnBadMask = "whole",
    on_reject: Annotated[
        str,
        typer.Option(
            "--on-reject",
            metavar="flag|abstain|raise",
            help="Where something is wrong with an image: explain it and say so, or count it as failed.",
        ),
    ] = "flag",
    value_range: ValueRange = None,
    max_megapixels: Megapixels = 64,
    panels: Annotated[int, typer.Option("--panels", metavar="2|4", help="Panels of a figure.")] = 4,
    npy: Annotated[bool, typer.Option("--npy", help="Write the maps as float32 arrays too.")] = False,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Write no figures.")] = False,
    no_cams: Annotated[bool, typer.Option("--no-cams", help="Write no maps as grey pictures.")] = False,
) -> None:
    """Show where chest X-rays hold what speaks for a class, and how much of it lies inside the lungs.

    Exit code: 0 all done, 1 some inputs failed (each is named, the rest is done), 2 wrong use.
    """
    from lungcls.cli.explanations import Explaining
    from lungcls.explanation.explain import check_options

    options: dict[str, Any] = {
        "segmenter": segmenter,
        "device": device,
        "batch_size": batch_size,
        "max_megapixels": max_megapixels,
        "region": region,
        "on_bad_mask": on_bad_mask,
        "on_reject": on_reject,
        "engine": "torch",  # the others have no gradients
    }
    if panels not in (2, 4):
        raise OptionError(f"--panels is {panels}; expected 2 or 4")
    files = collect_files(inputs, out, value_range, max_megapixels)
    pipeline = load_pipeline(options, [classifier])
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
