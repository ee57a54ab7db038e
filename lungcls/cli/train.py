"""``lungcls train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lungcls.cli.options import Classes, Data, Device, Epochs, Layout, MaskCache, SplitOfRecipe, Workers


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name (`lungcls info` lists them) or a TOML file.")
    ],
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run. The same command goes on after a kill.")
    ],
    split_file: SplitOfRecipe = None,
    layout: Layout = None,
    classes: Classes = None,
    init: Annotated[str | None, typer.Option(help="Weights to start from, in place of the recipe's.")] = None,
    segmenter: Annotated[
        str | None, typer.Option(help="Segmenter whose masks are used, in place of the recipe's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, in place of the recipe's.")] = None,
    epochs: Epochs = None,
    cache: MaskCache = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="Number of GPUs.")] = 1,
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

    chosen = load_recipe(recipe)
    changes = {"init": init, "segmenter": segmenter, "seed": seed}
    chosen = replace(chosen, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]
    if epochs is not None:
        chosen = chosen.cut(epochs)
    path = run(
        chosen,
        open_dataset(data, layout=layout, classes=classes),
        out,
        split=Split.read_csv(split_file) if split_file else None,
        context=RunContext(
            device=device,
            devices=devices,
            workers=workers,
            cache=cache,
            compile_network=compile_network,
            keep_checkpoints=keep_checkpoints,
            show_progress=True,
            progress=bar,
        ),
    )
    typer.echo(f"{path} and its card are written; the history is in {out / 'history.csv'}")
