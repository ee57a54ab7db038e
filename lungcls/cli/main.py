"""The ``lungcls`` command: the table of the commands, and the one boundary for their errors."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

import lungcls
from lungcls.cli.lazy import Commands, LazyCommand
from lungcls.cli.noise import every_word, only_own_words
from lungcls.labels import NOTICE

_PREDICTION, _STUDIES, _TRAINING, _DATA = "Prediction", "Studies", "Training", "Data and weights"

COMMANDS = (
    LazyCommand("predict", "cli.predict:predict", "Find the lungs and classify.", _PREDICTION),
    LazyCommand("segment", "cli.predict:segment", "Find the lungs.", _PREDICTION),
    LazyCommand("merge", "cli.scale:merge", "Join a run's shards.", _PREDICTION, "scale"),
    LazyCommand("results", "cli.scale:results", "Ask what a run has written.", _PREDICTION, "scale"),
    LazyCommand("features", "cli.features:features", "Write embeddings of films.", _PREDICTION),
    LazyCommand("explain", "cli.explain:explain", "Show what speaks for a class.", _PREDICTION),
    LazyCommand("serve", "cli.serve:serve", "Web page and REST service.", _PREDICTION, "web"),
    LazyCommand("dicom", "cli.dicom:app", "A DICOM node, and DICOMweb.", _PREDICTION, "pacs"),
    LazyCommand("evaluate", "cli.evaluate:evaluate", "Measure both stages on a dataset.", _STUDIES),
    LazyCommand("calibrate", "cli.calibrate:calibrate", "Fit a classifier's confidence.", _STUDIES),
    LazyCommand("report", "cli.report:report", "Plot and compare trained models.", _STUDIES, "train"),
    LazyCommand("paper", "cli.paper:paper", "Fill checklists from a run.", _STUDIES, "paper"),
    LazyCommand("shortcuts", "cli.shortcuts:shortcuts", "Lungs, or hospital? The checks.", _STUDIES, "train"),
    LazyCommand("audit", "cli.audit:audit", "Lungs, or hospital? Anybody's model.", _STUDIES, "train"),
    LazyCommand("drift", "cli.drift:drift", "Are new films like the old ones?", _STUDIES),
    LazyCommand("ablate", "cli.ablate:ablate", "Train on parts of the image.", _STUDIES, "train"),
    LazyCommand("train", "cli.train:train", "Train by a recipe.", _TRAINING, "train"),
    LazyCommand("finetune", "cli.finetune:finetune", "Your own classes or masks.", _TRAINING, "train"),
    LazyCommand("masks", "cli.masks:app", "Correct lung masks; train on them.", _TRAINING, "web"),
    LazyCommand("tune", "cli.tune:tune", "Search for better values of a recipe.", _TRAINING, "tune"),
    LazyCommand("train-release", "cli.train_release:app", "Train all released weights.", _TRAINING, "train"),
    LazyCommand("data", "cli.data:app", "Download, count, audit, split and draw datasets.", _DATA),
    LazyCommand("info", "cli.info:info", "Versions, weights, recipes and networks.", _DATA),
    LazyCommand("export", "cli.export:export", "Write networks for other engines.", _DATA, "export"),
    LazyCommand("page", "cli.page:app", "A page that uploads nothing.", _DATA, "export"),
)
"""Every command: its name, where it lives below ``lungcls``, its line in ``lungcls --help``, its panel there,
and the extra of ``pip install 'lungcls[EXTRA]'`` that it needs. It is imported when it is called."""


class _Lungcls(Commands):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for command in COMMANDS:
            self.add_command(command)


app = typer.Typer(
    name="lungcls",
    cls=_Lungcls,
    help=f"Find the lungs on chest X-rays and say which of four classes they look like. {NOTICE}",
    add_completion=True,
    pretty_exceptions_enable=False,
)


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
        every_word()


def main() -> None:
    """Run the command line."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started it; the next file must not take its number
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        # A terminal that lacks a character, or a file name that is no text, ends no command.
        getattr(sys, name).reconfigure(errors="backslashreplace")
    only_own_words()
    app()
