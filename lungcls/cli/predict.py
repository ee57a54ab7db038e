"""``lungcls predict`` and ``lungcls segment``: files and folders in, tables and pictures out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from lungcls.cli.options import Device
from lungcls.labels import NOTICE

if TYPE_CHECKING:
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
        str | None, typer.Option("--classifier", metavar="NAME|PATH", help="Weights of stage 2.")
    ] = None,
    segmenter: SegmenterName = "segmenter",
    device: Device = "auto",
    batch_size: BatchSize = 16,
    on_bad_mask: Annotated[
        str,
        typer.Option(
            "--on-bad-mask",
            metavar="whole|refuse",
            help="Where both lungs were not found: use the whole image and say so, or refuse.",
        ),
    ] = "whole",
    value_range: ValueRange = None,
    max_megapixels: Megapixels = 64,
    no_masks: NoMasks = False,
    no_overlays: NoOverlays = False,
    keep_parts: KeepParts = 2,
    no_fill_holes: NoFillHoles = False,
) -> None:
    """Say which of four classes the lungs on chest X-rays look like.

    Exit code: 0 all done, 1 some inputs failed (each is named, the rest is done), 2 wrong use.
    """
    options: dict[str, Any] = {
        "segmenter": segmenter,
        "device": device,
        "batch_size": batch_size,
        "max_megapixels": max_megapixels,
        "keep_parts": keep_parts,
        "fill_holes": not no_fill_holes,
        "classifier": classifier,
        "region": region or "mask",
        "on_bad_mask": on_bad_mask,
    }
    with _stopped_by_wrong_use():
        files = _collect(inputs, out, value_range, max_megapixels)
        pipeline = _load(options)
        stage_two = pipeline.classifier
        if classifier and region and stage_two.region.name != region:
            _stop(
                f"{classifier} sees the region {stage_two.region.name!r}, not {region!r}; leave out --region"
            )
        classes = stage_two.card.classes
    _run(files, pipeline, "predictions", classes, out, value_range, not no_masks, not no_overlays)


def segment(
    inputs: Inputs,
    out: Out = None,
    segmenter: SegmenterName = "segmenter",
    device: Device = "auto",
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
        "batch_size": batch_size,
        "max_megapixels": max_megapixels,
        "keep_parts": keep_parts,
        "fill_holes": not no_fill_holes,
    }
    with _stopped_by_wrong_use():
        files = _collect(inputs, out, value_range, max_megapixels)
        pipeline = _load(options)
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
    from lungcls.cli.batch import journal_name
    from lungcls.cli.inputs import collect
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
        ours = [
            name for table in ("predictions", "segments") for name in (f"{table}.json", journal_name(table))
        ]
        if not any((out / marker).exists() for marker in ours):
            for folder in (out / "masks", out / "overlays"):
                if folder.is_dir() and any(folder.iterdir()):
                    _stop(f"{folder} holds files that lungcls did not write; give another folder with --out")
    return files


def _load(options: dict[str, Any]) -> Pipeline:
    from lungcls.pipeline import Pipeline

    return Pipeline(**options)


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
    from lungcls.cli.tables import print_table, printable

    batch = Batch(name, pipeline, classes, out, value_range, masks, overlays)
    way_on = "nothing is kept without --out" if out is None else "run the same command again to continue"
    try:
        rows = batch.run(files)
    except KeyboardInterrupt:
        _stop(f"interrupted with {batch.done} of {len(files)} images done; {way_on}", 130)
    except OSError as error:
        _stop(f"cannot write the results: {error}; {batch.done} of {len(files)} images are done; {way_on}", 1)
    failed = [row for row in rows if row["error"]]
    if out is None:
        print_table(rows, classes)
    else:
        typer.echo(f"{len(rows) - len(failed)} of {len(rows)} images done: {out / name}.csv")
        whole = sum(bool(row.get("fallback")) for row in rows)
        if whole:
            typer.echo(f"{whole} of them by the whole image, for want of two lungs: see the column fallback")
    typer.echo(NOTICE)
    for row in failed:
        typer.echo(f"lungcls: {printable(row['error'])}", err=True)
    if failed:
        raise typer.Exit(1)
