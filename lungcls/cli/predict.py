"""``lungcls predict`` and ``lungcls segment``: files and folders in, tables and pictures out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from lungcls.cli.options import Device, Engine, Precision
from lungcls.labels import NOTICE

if TYPE_CHECKING:
    from lungcls.cli.batch import Batch
    from lungcls.cli.inputs import Input
    from lungcls.pipeline import Pipeline

Inputs = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Files, folders and patterns such as 'scans/**/*.dcm'."),
]
Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Folder for tables and pictures; without it a table is printed."),
]
SegmenterName = Annotated[str, typer.Option("--segmenter", metavar="NAME|PATH", help="Weights of stage 1.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images that run together.")]
ValueRange = Annotated[
    tuple[float, float] | None,
    typer.Option("--value-range", metavar="LO HI", help="What is black and what is white, such as 0 4095."),
]
Megapixels = Annotated[float, typer.Option("--max-megapixels", help="Larger images are refused.")]
NoMasks = Annotated[bool, typer.Option("--no-masks", help="Write no masks.")]
NoOverlays = Annotated[bool, typer.Option("--no-overlays", help="Write no overlays.")]
KeepParts = Annotated[
    int, typer.Option("--keep-parts", min=0, help="Largest parts of the mask that are kept; 0 keeps all.")
]
NoFillHoles = Annotated[bool, typer.Option("--no-fill-holes", help="Leave holes in the mask.")]


def predict(
    inputs: Inputs,
    out: Out = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region", help="Which released classifier: mask (the default) or full.", show_default=False
        ),
    ] = None,
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
    on_bad_mask: Annotated[
        str,
        typer.Option(
            "--on-bad-mask",
            metavar="whole|refuse",
            help="Where both lungs were not found: use the whole image and say so, or refuse.",
        ),
    ] = "whole",
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
    with _stopped_by_wrong_use():
        files = _collect(inputs, out, value_range, max_megapixels)
        pipeline = _load({**options, "region": region or "mask"}, classifier or [None])
        for name, stage_two in zip(classifier or [], pipeline.classifiers):
            if region and stage_two.region.name != region:
                _stop(f"{name} sees the region {stage_two.region.name!r}, not {region!r}; leave out --region")
        for stage_two in pipeline.classifiers:
            if coverage is not None and not stage_two.card.conformal:
                _stop(
                    f"{stage_two.card.name}: its card has no conformal scores, so that --coverage cannot be "
                    "kept; make them with `lungcls calibrate`, or leave it out"
                )
        classes = pipeline.classifier.card.classes
    _run(files, pipeline, "predictions", classes, out, value_range, not no_masks, not no_overlays)


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
    with _stopped_by_wrong_use():
        files = _collect(inputs, out, value_range, max_megapixels)
        pipeline = _load(options, [None])
    _run(files, pipeline, "segments", None, out, value_range, not no_masks, not no_overlays)


def _stop(message: str, code: int = 2) -> NoReturn:
    from lungcls.cli.tables import printable

    typer.echo(f"lungcls: {printable(message)}", err=True)
    raise typer.Exit(code)


@contextmanager
def _stopped_by_wrong_use() -> Iterator[None]:
    """Turn what is wrong before the work starts into one line and exit code 2."""
    from lungcls.errors import LungclsError

    try:
        yield
    except KeyboardInterrupt:
        _stop("interrupted before the first image", 130)
    except (LungclsError, ValueError) as error:
        _stop(str(error))


def _collect(
    inputs: Sequence[str], out: Path | None, value_range: tuple[float, float] | None, max_megapixels: float
) -> list[Input]:
    """Find the files, and refuse what would fail for each of them."""
    from lungcls.cli.batch import TABLES, journal_name
    from lungcls.cli.inputs import PICTURES, collect
    from lungcls.pixels import checked_limit, checked_range

    checked_range(value_range)
    checked_limit(max_megapixels)
    files = collect(inputs, out)
    if all(item.problem for item in files):
        _stop("\n".join(item.problem for item in files))
    if out is not None:
        if out.exists() and not out.is_dir():
            _stop(f"{out} is a file; --out takes a folder")
        # Someone's own masks/ beside the images is a usual layout, and the names would be the same.
        ours = [name for table in TABLES for name in (f"{table}.json", journal_name(table))]
        if not any((out / marker).exists() for marker in ours):
            for folder in (out / name for name in PICTURES):
                if folder.is_dir() and any(folder.iterdir()):
                    _stop(f"{folder} holds files that lungcls did not write; give another folder with --out")
    return files


def _load(options: dict[str, Any], classifiers: Sequence[str | None]) -> Pipeline:
    from lungcls.ensemble import Ensemble
    from lungcls.pipeline import Pipeline

    if len(classifiers) == 1:
        return Pipeline(**options, classifier=classifiers[0])
    members = [name for name in classifiers if name]
    return Ensemble(members, **{key: value for key, value in options.items() if key != "region"})


def _run(
    files: Sequence[Input],
    pipeline: Pipeline,
    name: str,
    classes: tuple[str, ...] | None,
    out: Path | None,
    value_range: tuple[float, float] | None,
    masks: bool,
    overlays: bool,
) -> None:
    from lungcls.cli.batch import Batch

    _work(files, Batch(name, pipeline, classes, out, value_range, masks, overlays))


def _work(files: Sequence[Input], batch: Batch) -> None:
    """Run a batch, say what came of it, and leave with the exit code for it."""
    from lungcls.cli.tables import doubts, printable

    out, name = batch.out, batch.name
    way_on = "nothing is kept without --out" if out is None else "run the same command again to continue"
    try:
        rows = batch.run(files)
    except KeyboardInterrupt:
        _stop(f"interrupted with {batch.done} of {len(files)} images done; {way_on}", 130)
    except OSError as error:
        _stop(f"cannot write the results: {error}; {batch.done} of {len(files)} images are done; {way_on}", 1)
    failed = [row for row in rows if row["error"]]
    if out is None:
        batch.print_table(rows)
        for line in doubts(rows):
            typer.echo(line)
    else:
        typer.echo(f"{len(rows) - len(failed)} of {len(rows)} images done: {out / name}.csv")
        refused = sum(not row["error"] and not row["quality"]["accepted"] for row in rows)
        if refused:
            typer.echo(f"{refused} of them do not look like chest X-rays: see the column reasons")
        whole = sum(bool(row.get("fallback")) for row in rows)
        if whole:
            typer.echo(f"{whole} of them by the whole image, for want of two lungs: see the column fallback")
    typer.echo(NOTICE)
    for row in failed:
        typer.echo(f"lungcls: {printable(row['error'])}", err=True)
    if failed:
        raise typer.Exit(1)
