"""The ``lungcls`` command: one typer application with a file a group of commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import lungcls
from lungcls.cli import (
    ablate,
    calibrate,
    data,
    evaluate,
    explain,
    export,
    info,
    predict,
    report,
    serve,
    shortcuts,
    train,
    train_release,
    tune,
)
from lungcls.errors import LungclsError
from lungcls.labels import NOTICE

app = typer.Typer(
    name="lungcls",
    help=f"Find the lungs on chest X-rays and say which of four classes they look like. {NOTICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("predict")(predict.predict)
app.command("segment")(predict.segment)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("train")(train.train)
app.command("train-release", context_settings=train_release.SETTINGS)(train_release.train_release)
app.command("evaluate")(evaluate.evaluate)
app.command("tune")(tune.tune)
app.command("report")(report.report)
app.command("calibrate")(calibrate.calibrate)
app.command("ablate")(ablate.ablate)
app.command("shortcuts")(shortcuts.shortcuts)
app.command("serve")(serve.serve)
app.command("info")(info.info)
app.add_typer(data.app, name="data")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"lungcls {lungcls.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the library logs.")] = False,
) -> None:
    if verbose:
        import logging

        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


def main() -> None:
    """Run the command line; errors of lungcls become one line and exit code 2."""
    try:
        app()
    except LungclsError as error:
        typer.echo(f"lungcls: {error}", err=True)
        sys.exit(2)
