"""``lungcls predict`` and ``lungcls segment``: files and folders in, tables and pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lungcls.cli.batch import Batch, collect_files, load_pipeline, work
from lungcls.cli.exporting import (
    Deidentify,
    DicomKinds,
    Exporting,
    ExportOptions,
    Formats,
    NewStudy,
    ViewerPlane,
)
from lungcls.cli.inputs import Input
from lungcls.cli.options import Classifiers, Inputs, Out, ValueRange, takes
from lungcls.cli.scale import ManyOptions, OutUri
from lungcls.errors import OptionError
from lungcls.options import PipelineOptions

NoMasks = Annotated[bool, typer.Option("--no-masks", help="Write no masks.")]
NoOverlays = Annotated[bool, typer.Option("--no-overlays", help="Write no overlays.")]


@takes(PipelineOptions, without=("classifier",))
@takes(ManyOptions)
def predict(
    context: typer.Context,
    inputs: Inputs,
    options: PipelineOptions,
    many: ManyOptions,
    out: OutUri = None,
    classifier: Classifiers = None,
    value_range: ValueRange = None,
    no_masks: NoMasks = False,
    no_overlays: NoOverlays = False,
    dicom: DicomKinds = "",
    formats: Formats = "",
    new_study: NewStudy = False,
    deidentify: Deidentify = None,
    viewer_plane: ViewerPlane = False,
) -> None:
    """Say which of four classes the lungs on chest X-rays look like.

    Manifests (.parquet, .csv, .jsonl), tar and zip files and URIs such as s3://bucket/films are worked on in
    shards: docs/scale.md.

    Exit code: 0 all done, 1 some inputs failed (each is named, the rest is done), 2 wrong use.
    """
    export = ExportOptions(dicom, formats, new_study, deidentify, viewer_plane)
    if many.wanted(inputs, out):
        if export:
            raise OptionError("shards hold tables and masks; leave out the options of --dicom and --formats")
        many.run(inputs, out, {**options.keywords(), "classifier": classifier}, value_range, no_masks)
        return
    folder = Path(out) if out else None
    files = collect_files(inputs, folder, value_range)
    pipeline = load_pipeline(options, classifier or [])
    wanted: Any = context.get_parameter_source("coverage")
    for stage_two in pipeline.classifiers:
        if wanted is not None and wanted.name == "COMMANDLINE" and not stage_two.card.conformal:
            raise OptionError(
                f"{stage_two.card.name}: its card has no conformal scores, so that --coverage cannot be "
                "kept; make them with `lungcls calibrate`, or leave it out"
            )
    classes = pipeline.classifier.card.classes
    batch = Batch("predictions", pipeline, classes, folder, value_range, not no_masks, not no_overlays)
    _run(files, batch, export)


@takes(PipelineOptions, without=("region", "classifier", "fallback", "on_bad_mask", "tta", "coverage"))
def segment(
    inputs: Inputs,
    options: PipelineOptions,
    out: Out = None,
    value_range: ValueRange = None,
    no_masks: NoMasks = False,
    no_overlays: NoOverlays = False,
    dicom: DicomKinds = "",
    formats: Formats = "",
    new_study: NewStudy = False,
    deidentify: Deidentify = None,
    viewer_plane: ViewerPlane = False,
) -> None:
    """Find the lungs on chest X-rays.

    Exit code: 0 all done, 1 some inputs failed (each is named, the rest is done), 2 wrong use.
    """
    export = ExportOptions(dicom, formats, new_study, deidentify, viewer_plane)
    files = collect_files(inputs, out, value_range)
    pipeline = load_pipeline(options)
    batch = Batch("segments", pipeline, None, out, value_range, not no_masks, not no_overlays)
    _run(files, batch, export)


def _run(files: Sequence[Input], batch: Batch, export: ExportOptions) -> None:
    """Run the batch, with the files that `export` asks for besides."""
    if not export:
        work(files, batch)
        return
    exporting = Exporting(
        batch.name,
        batch.pipeline,
        batch.classes,
        batch.out,
        batch.value_range,
        batch.masks,
        batch.overlays,
        options=export,
    )
    work(files, exporting)
    if exporting.unwritten:
        raise typer.Exit(1)
