"""``lungcls train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lungcls.cli.options import Data, Device


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name (`lungcls info` lists them) or a TOML file.")
    ],
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run. The same command goes on after a kill.")
    ],
    split_file: Annotated[
        Path | None,
        typer.Option(help="A split of `lungcls data split`; made by the recipe's seed if left out."),
    ] = None,
    init: Annotated[str | None, typer.Option(help="Weights to start from, in place of the recipe's.")] = None,
    segmenter: Annotated[
        str | None, typer.Option(help="Segmenter whose masks are used, in place of the recipe's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, in place of the recipe's.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Cut every stage of the schedule to so many epochs, for a trial.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for predicted masks, to share between runs.")
    ] = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="Number of GPUs.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that augment.")] = 1,
) -> None:
    """Train a stage of the pipeline, from a recipe to a weight file with its card."""
    from dataclasses import replace

    from lungcls.cli.progress import bar
    from lungcls.data import Split, open_radiography
    from lungcls.errors import MissingExtraError
    from lungcls.recipes import Stage, load_recipe

    try:
        from lungcls.training import train as run
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "lightning", "train", "training") from error

    chosen = load_recipe(recipe)
    changes = {"init": init, "segmenter": segmenter, "seed": seed}
    chosen = replace(chosen, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]
    if epochs is not None:
        chosen = replace(chosen, stages=tuple(Stage(s.size, min(s.epochs, epochs)) for s in chosen.stages))
    path = run(
        chosen,
        open_radiography(data),
        out,
        split=Split.read_csv(split_file) if split_file else None,
        cache=cache,
        device=device,
        devices=devices,
        workers=workers,
        show_progress=True,
        progress=bar,
    )
    typer.echo(f"{path} and its card are written; the history is in {out / 'history.csv'}")
