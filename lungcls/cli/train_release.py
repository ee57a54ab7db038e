"""``lungcls train-release``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lungcls.cli.options import Data, Device, Epochs, SplitOfRecipe, Workers


def train_release(
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the runs. The same command goes on after a kill.")
    ],
    schedule: Annotated[
        str, typer.Option(help="gpu: the full schedule. cpu: a shorter one, hours on two cores.")
    ] = "gpu",
    split_file: SplitOfRecipe = None,
    external: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of another collection (lung masks or classes) to evaluate on only; may be repeated."
        ),
    ] = None,
    epochs: Epochs = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="Number of GPUs.")] = 1,
    workers: Workers = 1,
    compile_network: Annotated[bool, typer.Option("--compile", help="Compile the networks (GPU).")] = False,
) -> None:
    """Train all released weights, evaluate them on the test part, and write their model card."""
    from lungcls.data import Split, open_external, open_radiography
    from lungcls.errors import MissingExtraError
    from lungcls.progress import bar

    try:
        from lungcls.training.release import train_release as run
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "lightning", "train", "training") from error

    weights = run(
        open_radiography(data),
        out,
        schedule=schedule,
        split=Split.read_csv(split_file) if split_file else None,
        external={folder.name: open_external(folder) for folder in external or []},
        epochs=epochs,
        device=device,
        devices=devices,
        workers=workers,
        compile_network=compile_network,
        show_progress=True,
        progress=bar,
    )
    typer.echo(f"{weights} holds the weights, their cards and the model card (README.md)")
