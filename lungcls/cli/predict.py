"""``lungcls predict`` and ``lungcls segment``: files and folders in, tables and pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lungcls.cli.exporting import (
    Deidentify,
    DicomKinds,
    ExportOptions,
    Formats,
    NewStudy,
    ViewerPlane,
)
from lungcls.cli.options import (
    BatchSize,
    Device,
    Engine,
    Inputs,
    Megapixels,
    OnBadMask,
    Out,
    Precision,
    RegionName,
    SegmenterName,
    ValueRange,
)
from lungcls.cli.running import collect_files, load_pipeline, work
from lungcls.errors import OptionError

if TYPE_CHECKING:
    from lungcls.cli.inputs import Input
    from lungcls.streaming import Streaming

NoMasks = Annotated[bool, typer.Option("--no-masks", help="Write no masks.")]
NoOverlays = Annotated[bool, typer.Option("--no-overlays", help="Write no overlays.")]
KeepParts = Annotated[
    int, typer.Option("--keep-parts", min=0, help="Largest parts of the mask that are kept; 0 keeps all.")
]
NoFillHoles = Annotated[bool, typer.Option("--no-fill-holes", help="Leave holes in the mask.")]


def predict(
    inputs: Inputs,
    out: Out = None,
    region: RegionName = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            metavar="NAME|PATH",
            help="Weights of stage 2; several make an ensemble.",
            show_default=False,
        ),
    ] = None,
    segmenter: SegmenterName = "segmenter",
    device: Device = "auto",
    engine: Engine = "auto",
    precision: Precision = "fp32",
    batch_size: BatchSize = 16,
    on_bad_mask: OnBadMask = "whole",
    on_reject: Annotated[
        str,
        typer.Option(
            "--on-reject",
            metavar="flag|abstain|raise",
            help="Where something is wrong with an image: say so (and give no label only where it is no "
            "chest X-ray), give no label, or count it as failed.",
        ),
    ] = "flag",
    value_range: ValueRange = None,
    max_megapixels: Megapixels = 64,
    no_masks: NoMasks = False,
    no_overlays: NoOverlays = False,
    keep_parts: KeepParts = 2,
    no_fill_holes: NoFillHoles = False,
    tta: Annotated[
        int, typer.Option("--tta", min=0, help="Average over so many slightly changed views besides.")
    ] = 0,
    coverage: Annotated[
        float | None,
        typer.Option(
            "--coverage",
            help="How often the conformal set shall hold the true class; 0.9 if left out.",
            show_default=False,
        ),
    ] = None,
    dicom: DicomKinds = "",
    formats: Formats = "",
    new_study: NewStudy = False,
    deidentify: Deidentify = None,
    viewer_plane: ViewerPlane = False,
) -> None:
    """Say which of four classes the lungs on chest X-rays look like.

    Exit code: 0 all done, 1 some inputs failed (each is named, the rest is done), 2 wrong use.
    """
    options: dict[str, Any] = {
        "segmenter": segmenter,
        "device": device,
        "engine": engine,
        "precision": precision,
        "batch_size": batch_size,
        "max_megapixels": max_megapixels,
        "keep_parts": keep_parts,
        "fill_holes": not no_fill_holes,
        "on_bad_mask": on_bad_mask,
        "on_reject": on_reject,
        "tta": tta,
        "coverage": 0.9 if coverage is None else coverage,
    }
    files = collect_files(inputs, out, value_range, max_megapixels)
    pipeline = load_pipeline({**options, "region": region}, classifier or [None])
    for stage_two in pipeline.classifiers:
        if coverage is not None and not stage_two.card.conformal:
            raise OptionError(
                f"{stage_two.card.name}: its card has no conformal scores, so that --coverage cannot be "
                "kept; make them with `lungcls calibrate`, or leave it out"
            )
    classes = pipeline.classifier.card.classes
    export = ExportOptions(dicom, formats, new_study, deidentify, viewer_plane)
    _run(files, pipeline, "predictions", classes, out, value_range, not no_masks, not no_overlays, export)


def segment(
    inputs: Inputs,
    out: Out = None,
    segmenter: SegmenterName = "segmenter",
    device: Device = "auto",
    engine: Engine = "auto",
    precision: Precision = "fp32",
    batch_size: BatchSize = 16,
    value_range: ValueRange = None,
    max_megapixels: Megapixels = 64,
    no_masks: NoMasks = False,
    no_overlays: NoOverlays = False,
    keep_parts: KeepParts = 2,
    no_fill_holes: NoFillHoles = False,
    dicom: DicomKinds = "",
    formats: Formats = "",
    new_study: NewStudy = False,
    deidentify: Deidentify = None,
    viewer_plane: ViewerPlane = False,
) -> None:
    """Find the lungs on chest X-rays.

    Exit code: 0 all done, 1 some inputs failed (each is named, the rest is done), 2 wrong use.
    """
    options: dict[str, Any] = {
        "segmenter": segmenter,
        "device": device,
        "engine": engine,
        "precision": precision,
        "batch_size": batch_size,
        "max_megapixels": max_megapixels,
        "keep_parts": keep_parts,
        "fill_holes": not no_fill_holes,
    }
    files = collect_files(inputs, out, value_range, max_megapixels)
    pipeline = load_pipeline(options, [None])
    export = ExportOptions(dicom, formats, new_study, deidentify, viewer_plane)
    _run(files, pipeline, "segments", None, out, value_range, not no_masks, not no_overlays, export)


def _run(
    files: Sequence[Input],
    pipeline: Streaming,
    name: str,
    classes: tuple[str, ...] | None,
    out: Path | None,
    value_range: tuple[float, float] | None,
    masks: bool,
    overlays: bool,
    export: ExportOptions,
) -> None:
    from lungcls.cli.batch import Batch
    from lungcls.cli.exporting import Exporting

    if not export:
        work(files, Batch(name, pipeline, classes, out, value_range, masks, overlays))
        return
    batch = Exporting(name, pipeline, classes, out, value_range, masks, overlays, options=export)
    work(files, batch)
    if batch.unwritten:
        raise typer.Exit(1)
