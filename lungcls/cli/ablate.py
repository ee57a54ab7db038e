"""``lungcls ablate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lungcls.cli.options import Classes, Data, Device, Epochs, Layout, MaskCache, SplitOfRecipe, Workers


def ablate(
    data: Data,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder of the ablation. The same command goes on after a kill."),
    ],
    arms: Annotated[
        str,
        typer.Option(help="Arms, separated by commas, or 'all'; an unknown one makes the command list them."),
    ] = "all",
    seeds: Annotated[int, typer.Option(help="Trainings of each arm.")] = 3,
    recipe: Annotated[str, typer.Option(help="A classifier's recipe: a name or a TOML file.")] = "ablation",
    masks: Annotated[
        str, typer.Option(help="predicted (by the segmenter), truth (the dataset's own) or both.")
    ] = "predicted",
    split_file: SplitOfRecipe = None,
    layout: Layout = None,
    classes: Classes = None,
    segmenter: Annotated[
        str | None, typer.Option(help="Segmenter whose masks are used, in place of the recipe's.")
    ] = None,
    epochs: Epochs = None,
    limit: Annotated[
        int, typer.Option(help="Take only about so many images of each class, for a trial; 0 takes all.")
    ] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples, drawn by group.")] = 2000,
    cache: MaskCache = None,
    device: Device = "auto",
    workers: Workers = 1,
) -> None:
    """Train and test the same model on parts of the image: where is the information?"""
    from dataclasses import replace

    from lungcls.ablation import DEFAULT_ARMS
    from lungcls.ablation.plots import write_plots
    from lungcls.ablation.run import ablate as run
    from lungcls.data import Split, open_dataset
    from lungcls.errors import OptionError
    from lungcls.evaluation.results import write_csv, write_results
    from lungcls.progress import bar
    from lungcls.recipes import load_recipe
    from lungcls.render.drawing import new_figure
    from lungcls.study.context import RunContext

    chosen = load_recipe(recipe)
    if segmenter is not None:
        chosen = replace(chosen, segmenter=segmenter)
    if epochs is not None:
        chosen = chosen.cut(epochs)
    if masks not in ("predicted", "truth", "both"):
        raise OptionError(f"--masks is {masks!r}; expected predicted, truth or both")
    new_figure(1, 1)  # a missing matplotlib is told before hours of training, not after
    found = run(
        chosen,
        open_dataset(data, layout=layout, classes=classes),
        out,
        arms=DEFAULT_ARMS if arms == "all" else [name.strip() for name in arms.split(",")],
        seeds=seeds,
        masks=masks,  # type: ignore[arg-type]
        split=Split.read_csv(split_file) if split_file else None,
        limit=limit,
        n_resamples=resamples,
        context=RunContext(device=device, workers=workers, cache=cache, show_progress=True, progress=bar),
    )
    results = out / "results"
    written = [*write_results(results, "ablation", found.rows, found.payload)]
    written.append(write_csv(results, "ablation_differences", found.differences))
    written.append(write_csv(results, "ablation_swaps", found.swaps))
    written += write_plots(results, "ablation", found.rows, found.swaps)
    print_tables(found.payload)
    typer.echo(f"\nwritten: {', '.join(str(path) for path in written)}")


def print_tables(payload: dict[str, Any]) -> None:
    """Print what an ablation found, as three tables."""
    from lungcls.ablation.tables import differences_table, figures_table, swaps_table

    counts = payload["images"]["test"]
    typer.echo(f"{sum(counts.values())} test images, {payload['seeds']} seeds, split {payload['split_hash']}")
    if payload["left_out"]:
        typer.echo(f"{payload['left_out']} images of the split are left out (no usable mask, or --limit)")
    typer.echo(f"\n{figures_table(payload['figures'])}")
    if payload["differences"]:
        typer.echo(f"\nArm minus full:\n\n{differences_table(payload['differences'])}")
    if payload["swaps"]:
        typer.echo(
            f"\nMacro-F1, trained on (rows) and tested on (columns):\n\n{swaps_table(payload['swaps'])}"
        )
