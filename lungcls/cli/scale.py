"""Manifests, object storage and many machines: ``lungcls predict`` at scale, ``merge`` and ``results``."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from lungcls.errors import LungclsError, OptionError
from lungcls.labels import NOTICE
from lungcls.options import option

if TYPE_CHECKING:
    from lungcls.scale.progress import Snapshot
    from lungcls.scale.run import Report

OutUri: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--out",
        metavar="PATH|URI",
        help="Folder for tables and pictures, or for shards; without it a table is printed.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ManyOptions:
    """The options of ``lungcls predict`` that are about many films."""

    column: str | None = option(None, "The manifest's column of URIs.", metavar="NAME")
    root: str | None = option(
        None, "What a manifest's relative paths are below; its own folder if left out.", metavar="URI"
    )
    rows_per_shard: int | None = option(
        None, "Write Parquet shards of so many rows; 1024 where a manifest makes shards anyway.", low=1
    )
    masks: str | None = option(
        None,
        "Masks of shards: COCO run lengths in a column (if left out), or PNG in tar files.",
        metavar="rle|png",
    )
    workers: int | None = option(
        None, "Worker processes, on Ray at most so many; chosen from what there is if left out.", low=1
    )
    ray: str | None = option(
        None,
        "Work on a Ray cluster: its address, the one that this machine belongs to, or one of its own.",
        metavar="ADDRESS|auto|local",
    )
    gpus_per_worker: float | None = option(
        None, "On Ray: GPUs of each worker, such as 0.5.", metavar="NUMBER"
    )
    metrics_port: int | None = option(
        None, "Serve rows, rate and failures to Prometheus at this port.", metavar="PORT", low=1
    )

    def wanted(self, inputs: Sequence[str], out: str | None) -> bool:
        """Whether the words ask for shards: by an option, or by an input or output that has no other way."""
        if any(value is not None for value in vars(self).values()):
            return True
        words = [*inputs, *([out] if out else [])]
        suffixes = (
            ".parquet",
            ".pq",
            ".csv",
            ".jsonl",
            ".ndjson",
            ".tar",
            ".tgz",
            ".tar.bz2",
            ".tar.xz",
            ".zip",
        )
        return any(
            ("://" in word and not word.startswith("file://"))
            or word.lower().removesuffix(".gz").endswith(suffixes)
            for word in words
        )

    def run(
        self,
        inputs: Sequence[str],
        out: str | None,
        options: dict[str, Any],
        value_range: tuple[float, float] | None,
        no_masks: bool,
    ) -> None:
        """Do it, show how far it is, and leave with the exit code for what came of it.

        Raises
        ------
        OptionError
            If the options contradict each other.
        """
        if out is None:
            raise OptionError("manifests and shards need a folder for the results; name one with -o")
        masks: Any = "none" if no_masks else self.masks or "rle"
        if self.masks not in (None, "rle", "png"):
            raise OptionError(f"--masks is {self.masks!r}; expected rle or png; --no-masks writes none")
        if self.gpus_per_worker is not None and self.ray is None:
            raise OptionError("--gpus-per-worker is for Ray; name a cluster with --ray, or leave it out")
        from lungcls.scale import run

        with _reporter(self.metrics_port) as report:
            try:
                outcome = run(
                    inputs,
                    out,
                    column=self.column,
                    root=self.root,
                    rows_per_shard=self.rows_per_shard or 1024,
                    masks=masks,
                    workers=self.workers,
                    ray=self.ray,
                    gpus_per_worker=self.gpus_per_worker,
                    value_range=value_range,
                    report=report,
                    **options,
                )
            except KeyboardInterrupt:
                typer.echo("lungcls: interrupted; run the same command again to continue", err=True)
                raise typer.Exit(130) from None
        _conclude(outcome)


def _conclude(outcome: Report) -> None:
    counts = outcome.counts
    typer.echo(f"{counts.rows:,} rows in {counts.shards:,} shards: {outcome.folder}")
    typer.echo(f"{outcome.rows:,} of them now, in {outcome.seconds:.0f} s")
    for title, values in (("label", counts.labels), ("reason", counts.reasons), ("error", counts.errors)):
        for name, count in values.items():
            typer.echo(f"{title:>7} {name}: {count:,}")
    typer.echo(NOTICE)
    for one in outcome.lost:
        typer.echo(f"lungcls: shard {one.shard} is missing: {one.problem}", err=True)
    if outcome.lost or counts.errors:
        raise typer.Exit(1)


@contextlib.contextmanager
def _reporter(metrics_port: int | None) -> Iterator[Callable[[Snapshot], None]]:
    """A bar for those who watch, a JSON line a minute for logs, and numbers for Prometheus."""
    from rich.console import Console

    measure = _prometheus(metrics_port) if metrics_port is not None else lambda snapshot: None
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console) as show:
            yield lambda snapshot: (show(snapshot), measure(snapshot))[0]
        return
    said = time.monotonic()
    last: Snapshot | None = None

    def log(snapshot: Snapshot) -> None:
        nonlocal said, last
        measure(snapshot)
        last = snapshot
        if time.monotonic() - said >= 60:
            said = time.monotonic()
            _say(snapshot)

    try:
        yield log
    finally:
        if last is not None:
            _say(last)


def _say(snapshot: Snapshot) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    typer.echo(json.dumps({"time": now, **snapshot.to_dict()}), err=True)


@contextlib.contextmanager
def _bar(console: Any) -> Iterator[Callable[[Snapshot], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}", markup=False), console=console) as progress:
        task = progress.add_task("", total=None)

        def show(snapshot: Snapshot) -> None:
            left = "" if snapshot.seconds_left is None else f", {_duration(snapshot.seconds_left)} left"
            failed = "".join(f", {count} {kind}" for kind, count in snapshot.failures.items())
            text = f"{snapshot.rate:.1f}/s{left}{failed}"
            progress.update(task, completed=snapshot.rows, total=snapshot.total, description=text)

        yield show


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.0f} min" if minutes >= 1 else f"{seconds:.0f} s"


def _prometheus(port: int) -> Callable[[Snapshot], None]:
    try:
        from prometheus_client import CollectorRegistry, Gauge, start_http_server
    except ImportError as error:
        from lungcls.errors import MissingExtraError

        raise MissingExtraError("prometheus-client", "web", "--metrics-port") from error
    registry = CollectorRegistry()
    gauges = {
        name: Gauge(f"lungcls_run_{name}", text, registry=registry)
        for name, text in (
            ("rows", "Rows that are done."),
            ("total", "Rows in all; absent where nobody knows."),
            ("rate", "Rows a second in the last two minutes."),
            ("seconds_left", "Estimated time to the end."),
            ("shards", "Shards that are done."),
        )
    }
    failures = Gauge("lungcls_run_failures", "Rows with an error, by kind.", ["kind"], registry=registry)
    try:
        start_http_server(port, registry=registry)
    except OSError as error:
        raise LungclsError(f"--metrics-port {port} cannot be served: {error}; name another") from error

    def measure(snapshot: Snapshot) -> None:
        for name, gauge in gauges.items():
            value = getattr(snapshot, name)
            gauge.set(float("nan") if value is None else value)
        for kind, count in snapshot.failures.items():
            failures.labels(kind).set(count)

    return measure


Folder: TypeAlias = Annotated[
    str, typer.Argument(metavar="FOLDER", help="What `lungcls predict -o FOLDER` wrote; a path or URI.")
]


def merge(
    folder: Folder,
    out: Annotated[
        str, typer.Option("-o", "--out", help="One file: .parquet with all, .csv or .jsonl without masks.")
    ],
    partial: Annotated[bool, typer.Option("--partial", help="Also of a run that has not ended.")] = False,
) -> None:
    """Join the shards of a run in one file."""
    from lungcls.scale import merge

    rows = merge(folder, out, partial=partial)
    typer.echo(f"{rows:,} rows: {out}")


def results(
    folder: Folder,
    sql: Annotated[
        str | None,
        typer.Option("--sql", help="A question in DuckDB's SQL to the table `results`; counts if left out."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="table|csv|json", help="How the answer is printed.")
    ] = "table",
    errors: Annotated[
        str | None,
        typer.Option(
            "--errors", metavar="FILE", help="Write the rows with errors as a manifest, to do them again."
        ),
    ] = None,
) -> None:
    """Ask what a run has written: how many by class, by reason, by error, or anything in SQL."""
    if form not in ("table", "csv", "json"):
        raise OptionError(f"--format is {form!r}; expected table, csv or json")
    from lungcls.scale import query, write_errors

    if errors is not None:
        typer.echo(f"{write_errors(folder, errors):,} rows with errors: {errors}")
        return
    if sql is not None:
        _print(query(folder, sql), form)
        return
    from lungcls.scale import count_rows

    counts = count_rows(folder)
    if form == "json":
        typer.echo(json.dumps(counts.to_dict(), indent=2))
        return
    import pyarrow as pa

    titles = (("label", counts.labels), ("reason", counts.reasons), ("error", counts.errors))
    lines = [{"what": "rows", "name": "", "rows": counts.rows}]
    lines += [
        {"what": what, "name": name, "rows": rows} for what, values in titles for name, rows in values.items()
    ]
    _print(pa.Table.from_pylist(lines), form)


def _print(table: Any, form: str | Literal["table"]) -> None:
    """Print a pyarrow table."""
    rows = table.to_pylist(maps_as_pydicts="strict")
    if form == "json":
        typer.echo(json.dumps(rows, indent=2, default=str, ensure_ascii=False))
        return
    if form == "csv":
        import csv

        writer = csv.DictWriter(sys.stdout, table.column_names)
        writer.writeheader()
        writer.writerows(rows)
        return
    from lungcls.cli.tables import printable

    lines = [table.column_names, *[[_cell(row[name]) for name in table.column_names] for row in rows]]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.column_names))]
    for line in lines:
        typer.echo(printable("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()))


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
