"""``lungcls tune``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Data,
    Device,
    Epochs,
    Layout,
    OtherSeed,
    RecipeName,
    RunFolder,
    SplitFile,
    Workers,
)


def tune(
    recipe: RecipeName,
    data: Data,
    out: RunFolder,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Trials in all, those of earlier calls included.")
    ] = 20,
    space: Annotated[
        Path | None,
        typer.Option(
            "--space",
            exists=True,
            dir_okay=False,
            help="TOML file: a table a key of the recipe, with `choices` or `low`, `high` and `log`.",
        ),
    ] = None,
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    seed: OtherSeed = None,
    epochs: Epochs = None,
    prune: Annotated[bool, typer.Option(help="Stop trials that fall behind the others.")] = True,
    cache: Cache = None,
    device: Device = "auto",
    workers: Workers = 1,
) -> None:
    """Search for better values of a recipe, scored on the validation part alone."""
    import optuna

    from lungcls.data import Split, open_dataset
    from lungcls.recipes import load_recipe
    from lungcls.recipes.space import load_space
    from lungcls.study.context import RunContext
    from lungcls.training.tune import tune as run

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def show(row: dict[str, Any]) -> None:
        score = "-" if row["validation_score"] is None else f"{row['validation_score']:.4f}"
        values = ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.items()
            if key not in ("trial", "state", "validation_score", "folder")
        )
        typer.echo(f"trial {row['trial']}: {row['state']}, {score} on validation; {values}")

    chosen = load_recipe(recipe)
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    best = run(
        chosen if epochs is None else chosen.cut(epochs),
        open_dataset(data, layout=layout, classes=classes),
        out,
        trials=trials,
        space=load_space(space) if space else None,
        split=Split.read_csv(split) if split else None,
        prune=prune,
        context=RunContext(device=device, workers=workers, cache=cache),
        on_trial=show,
    )
    typer.echo(f"best on validation: {best.score:.4f}; recipe {out / 'best.toml'}, weights {best.weights}")
