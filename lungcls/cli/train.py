"""``lungcls train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Data,
    Device,
    Epochs,
    Layout,
    OtherSeed,
    OtherSegmenter,
    RecipeName,
    RunFolder,
    SplitFile,
    Workers,
)
from lungcls.cli.parts import check_weights


def train(
    recipe: RecipeName,
    data: Data,
    out: RunFolder,
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    init: Annotated[
        str | None,
        typer.Option("--init", metavar="NAME|PATH", help="Weights to start from, in place of the recipe's."),
    ] = None,
    segmenter: OtherSegmenter = None,
    seed: OtherSeed = None,
    epochs: Epochs = None,
    cache: Cache = None,
    views_folder: Annotated[
        Path | None,
        typer.Option(
            "--views-folder",
            file_okay=False,
            help="Keep views in files there, and not in memory: for more than memory holds.",
        ),
    ] = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option("--devices", min=1, help="Number of GPUs.")] = 1,
    workers: Workers = 1,
    keep_checkpoints: Annotated[
        bool, typer.Option(help="Keep the checkpoint of every epoch, not only the best and the last.")
    ] = False,
    compile_network: Annotated[bool, typer.Option("--compile", help="Compile the network (GPU).")] = False,
) -> None:
    """Train a stage of the pipeline, from a recipe to a weight file with its card."""
    from dataclasses import replace

    from lungcls.data import Split, open_dataset
    from lungcls.progress import bar
    from lungcls.recipes import load_recipe
    from lungcls.study.context import RunContext
    from lungcls.training import train as run
    from lungcls.weights import load_card

    if init:
        load_card(init)
    if segmenter is not None:
        check_weights([segmenter], "segmentation")
    chosen = load_recipe(recipe)
    changes = {"init": init, "segmenter": segmenter, "seed": seed}
    chosen = replace(chosen, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]
    if epochs is not None:
        chosen = chosen.cut(epochs)
    path = run(
        chosen,
        open_dataset(data, layout=layout, classes=classes),
        out,
        split=Split.read_csv(split) if split else None,
        context=RunContext(
            device=device,
            devices=devices,
            workers=workers,
            cache=cache,
            views_folder=views_folder,
            compile_network=compile_network,
            keep_checkpoints=keep_checkpoints,
            show_progress=True,
            progress=bar,
        ),
    )
    typer.echo(f"{path} and its card are written; the history is in {out / 'history.csv'}")
