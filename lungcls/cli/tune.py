"""``lungcls tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lungcls.cli.options import Classes, Data, Device, Epochs, Layout, MaskCache, SplitOfRecipe, Workers


def tune(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name (`lungcls info` lists them) or a TOML file.")
    ],
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the search. The same command goes on after a kill.")
    ],
    trials: Annotated[int, typer.Option(help="Trials in all, those of earlier calls included.")] = 20,
    space: Annotated[
        Path | None,
        typer.Option(
            help="TOML file: a table a key of the recipe, with `choices` or `low`, `high` and `log`."
        ),
    ] = None,
    split_file: SplitOfRecipe = None,
    layout: Layout = None,
    classes: Classes = None,
    epochs: Epochs = None,
    prune: Annotated[bool, typer.Option(help="Stop trials that fall behind the others.")] = True,
    cache: MaskCache = None,
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
    found = run(
        chosen if epochs is None else chosen.cut(epochs),
        open_dataset(data, layout=layout, classes=classes),
        out,
        trials=trials,
        space=load_space(space) if space else None,
        split=Split.read_csv(split_file) if split_file else None,
        prune=prune,
        context=RunContext(device=device, workers=workers, cache=cache),
        on_trial=show,
    )
    typer.echo(f"best on validation: {found.score:.4f}; recipe {out / 'best.toml'}, weights {found.weights}")
