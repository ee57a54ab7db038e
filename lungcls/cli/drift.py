"""``lungcls drift``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lungcls.cli.options import Layout, Part, Seed, SplitFile, takes
from lungcls.errors import OptionError
from lungcls.options import PipelineOptions

if TYPE_CHECKING:
    from lungcls.drift.compare import Drift
    from lungcls.drift.reference import FilmStatistics
    from lungcls.pipeline import Pipeline

_SET = "a folder of films or of a dataset, or the statistics of one (.npz)"


@takes(PipelineOptions, without=("on_bad_mask", "on_reject", "tta", "coverage"))
def drift(
    reference: Annotated[
        str,
        typer.Argument(
            help=f"What new films are compared with: {_SET}; or a classifier's name, for the films that it "
            "was calibrated on."
        ),
    ],
    options: PipelineOptions,
    new: Annotated[str | None, typer.Argument(help=f"{_SET[0].upper()}{_SET[1:]}.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", file_okay=False, help="Folder for drift.json and drift.csv.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            dir_okay=False,
            help="Keep the statistics of the reference in this file: numbers of films, no pixels. Beside "
            "weights, as NAME.reference.npz, `lungcls predict` finds them.",
        ),
    ] = None,
    part: Part = "all",
    split: SplitFile = None,
    layout: Layout = None,
    limit: Annotated[
        int,
        typer.Option("--limit", min=0, help="Take at most so many films of either side, drawn by the seed."),
    ] = 0,
    seed: Seed = 0,
) -> None:
    """Say whether new films are unlike those of a reference, and in what.

    Exit code: 0 done, whatever was found; 2 wrong use.
    """
    from lungcls.drift.compare import compare
    from lungcls.evaluation.results import write_results
    from lungcls.pipeline import Pipeline

    if new is None and save is None:
        raise OptionError("name the new films, or --save to keep the statistics of the reference")
    if save is not None and save.suffix != ".npz":
        raise OptionError(f"--save is {save}; expected a name that ends in .npz")
    stored = [_stored(text) for text in (reference, new) if text is not None]
    if stored[0] and (part != "all" or split or layout):
        raise OptionError(
            f"{reference} has its statistics already; --part, --split and --layout are for a folder of films"
        )
    pipeline = Pipeline(**options.keywords())
    first = _statistics(reference, pipeline, part, split, layout, limit, seed)
    if save is not None:
        typer.echo(f"{len(first)} films: {first.save(save)}")
    if new is None:
        return
    second = _statistics(new, pipeline, "all", None, None, limit, seed)
    result = compare(first, second, seed=seed)
    _print(result)
    if out is not None:
        written = write_results(out, "drift", result.tests, result.to_dict())
        typer.echo(f"written: {', '.join(map(str, written))}")


def _stored(text: str) -> Path | None:
    """Where the statistics of a side are kept; None for a folder whose films are to be looked at."""
    from lungcls.drift.reference import beside

    path = Path(text)
    if path.suffix == ".npz" or path.exists():
        return path if path.suffix == ".npz" else None
    if stored := beside(text):
        return stored
    raise OptionError(
        f"{text}: neither a folder nor statistics, and no weights of this name have them; make them with "
        "`lungcls drift DIR --save FILE.npz`"
    )


def _statistics(
    text: str, pipeline: Pipeline, part: str, split: Path | None, layout: str | None, limit: int, seed: int
) -> FilmStatistics:
    from lungcls.cli.inputs import collect as collect_inputs
    from lungcls.cli.parts import chosen_part
    from lungcls.data import open_dataset
    from lungcls.drift.reference import FilmStatistics, collect
    from lungcls.errors import DataError
    from lungcls.progress import bar

    path = Path(text)
    if stored := _stored(text):
        return FilmStatistics.load(stored)
    card = pipeline.classifier.card
    about: dict[str, Any] = {
        "classifier": card.name,
        "weights": card.sha256,
        "temperature": card.temperature,
        "part": part,
        "seed": seed,
    }
    labels: dict[str, str] = {}
    try:
        dataset = open_dataset(path, layout=layout)
    except DataError:
        if part != "all" or layout:
            raise
        files = [item.path for item in collect_inputs([text]) if not item.problem]
        about["dataset"] = path.name
    else:
        records, chosen = chosen_part(dataset, part, split, seed)
        files = [os.fspath(dataset.path(record)) for record in records]
        about |= {"dataset": dataset.title, "split_hash": chosen.hash if chosen else None}
        if all(record.label in card.classes for record in records):
            labels = dict(zip(files, (record.label for record in records)))
    if limit and len(files) > limit:
        import numpy as np

        chosen_at = np.random.default_rng(seed).choice(len(files), limit, replace=False)
        files = [files[i] for i in sorted(chosen_at.tolist())]
    answers = bar(pipeline.stream(files, on_error="return"), len(files), f"looking at {path.name}")
    statistics, failures = collect(answers, card.classes, labels.get if labels else None, about)  # type: ignore[arg-type]
    for failure in failures[:3]:
        typer.echo(f"lungcls: {failure.error}", err=True)
    if len(failures) > 3:
        typer.echo(f"lungcls: and {len(failures) - 3} more films of {path} could not be read", err=True)
    if withheld := len(files) - len(statistics) - len(failures):
        typer.echo(f"lungcls: left out, as they get no label: {withheld} films of {path}", err=True)
    return statistics


def _print(result: Drift) -> None:
    from lungcls.render.tables import format_table

    words = {
        "none": "No drift was found",
        "mix of classes": "The mix of the classes has changed",
        "films": "The films are unlike the reference",
        "cannot tell": "It cannot be told",
    }
    typer.echo(f"{words[result.kind]}: {result.because}.")
    if not result.promised:
        typer.echo("Neither confidence nor sets keep what they promise on such films.")
    if result.prevalence and result.kind != "cannot tell":
        rows = [
            {"class": row["class"], "reference": row["reference"], "value": row["new"]}
            | {"low": row["low"], "high": row["high"]}
            for row in result.prevalence
        ]
        typer.echo(
            "\nShares of the classes, estimated as if nothing else had changed:\n" + format_table(rows)
        )
    if result.tests:
        typer.echo("\n" + format_table(sorted(result.tests, key=lambda row: row["p"])))
