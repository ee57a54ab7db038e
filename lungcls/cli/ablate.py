"""``lungcls ablate``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Data,
    Device,
    Epochs,
    Layout,
    Limit,
    OtherSegmenter,
    Recipe,
    Resamples,
    RunFolder,
    SplitFile,
    Workers,
    one_of,
)
from lungcls.cli.parts import check_weights


def ablate(
    data: Data,
    out: RunFolder,
    arms: Annotated[
        str,
        typer.Option(
            "--arms", help="Arms, separated by commas, or 'all'; an unknown one makes the command list them."
        ),
    ] = "all",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each arm.")] = 3,
    recipe: Recipe = "ablation",
    masks: Annotated[
        str,
        typer.Option(
            "--masks",
            callback=one_of("--masks", ("predicted", "truth", "both")),
            help="predicted (by the segmenter), truth (the dataset's own) or both.",
        ),
    ] = "predicted",
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    segmenter: OtherSegmenter = None,
    epochs: Epochs = None,
    limit: Limit = 0,
    resamples: Resamples = 2000,
    cache: Cache = None,
    device: Device = "auto",
    workers: Workers = 1,
) -> None:
    """Train and test the same model on parts of the image: where is the information?"""
    from dataclasses import replace

    from lungcls.ablation import DEFAULT_ARMS
    from lungcls.ablation.arms import choose_arms
    from lungcls.ablation.plots import write_plots
    from lungcls.ablation.run import ablate as run
    from lungcls.data import Split, open_dataset
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
    names = DEFAULT_ARMS if arms == "all" else [name.strip() for name in arms.split(",")]
    choose_arms(names)
    if segmenter is not None:
        check_weights([segmenter], "segmentation")
    new_figure(1, 1)  # a missing matplotlib is told before hours of training, not after
    ablation = run(
        chosen,
        open_dataset(data, layout=layout, classes=classes),
        out,
        arms=names,
        seeds=seeds,
        masks=masks,  # type: ignore[arg-type]
        split=Split.read_csv(split) if split else None,
        limit=limit,
        n_resamples=resamples,
        context=RunContext(device=device, workers=workers, cache=cache, show_progress=True, progress=bar),
    )
    results = out / "results"
    written = [*write_results(results, "ablation", ablation.rows, ablation.payload)]
    written.append(write_csv(results, "ablation_differences", ablation.differences))
    written.append(write_csv(results, "ablation_swaps", ablation.swaps))
    written += write_plots(results, "ablation", ablation.rows, ablation.swaps)
    print_tables(ablation.payload)
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
