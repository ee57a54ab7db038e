"""What the commands that work through images have in common: from the inputs to the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from lungcls.errors import LungclsError, OptionError
from lungcls.labels import NOTICE

if TYPE_CHECKING:
    from lungcls.cli.batch import Batch
    from lungcls.cli.inputs import Input
    from lungcls.ensemble import Ensemble
    from lungcls.pipeline import Pipeline


def stop(message: str, code: int = 2) -> NoReturn:
    """Print one line to the error stream and leave with an exit code."""
    from lungcls.cli.tables import printable

    typer.echo(f"lungcls: {printable(message)}", err=True)
    raise typer.Exit(code)


def collect_files(
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
        raise LungclsError("; ".join(item.problem for item in files))
    if out is not None:
        if out.exists() and not out.is_dir():
            raise OptionError(f"{out} is a file; --out takes a folder")
        # Someone's own masks/ beside the images is a usual layout, and the names would be the same.
        ours = [name for table in TABLES for name in (f"{table}.json", journal_name(table))]
        if not any((out / marker).exists() for marker in ours):
            for folder in (out / name for name in PICTURES):
                if folder.is_dir() and any(folder.iterdir()):
                    raise OptionError(
                        f"{folder} holds files that lungcls did not write; give another folder with --out"
                    )
    return files


def load_pipeline(options: dict[str, Any], classifiers: Sequence[str | None]) -> Pipeline | Ensemble:
    """Load a pipeline, or an ensemble where several classifiers are named."""
    from lungcls.ensemble import Ensemble
    from lungcls.pipeline import Pipeline

    if len(classifiers) == 1:
        return Pipeline(**options, classifier=classifiers[0])
    region = options.get("region")
    shared = {key: value for key, value in options.items() if key != "region"}
    ensemble = Ensemble([name for name in classifiers if name], **shared)
    for stage_two in ensemble.classifiers:
        if region not in (None, stage_two.region.name):
            raise OptionError(
                f"{stage_two.card.name} sees the region {stage_two.region.name!r}, not {region!r}; leave out "
                "the region"
            )
    return ensemble


def work(files: Sequence[Input], batch: Batch) -> None:
    """Run a batch, say what came of it, and leave with the exit code for it."""
    from lungcls.cli.tables import doubts, printable

    out, name = batch.out, batch.name
    way_on = "nothing is kept without --out" if out is None else "run the same command again to continue"
    try:
        rows = batch.run(files)
    except KeyboardInterrupt:
        stop(f"interrupted with {batch.done} of {len(files)} images done; {way_on}", 130)
    except OSError as error:
        stop(f"cannot write the results: {error}; {batch.done} of {len(files)} images are done; {way_on}", 1)
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
