"""``lungcls evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lungcls.cli.options import Data, Device, MaskCache, SplitOfSeed


def evaluate(
    data: Data,
    split: Annotated[str, typer.Option(help="Part to evaluate on: train, validation, test or all.")] = "test",
    split_file: SplitOfSeed = None,
    region: Annotated[
        list[str] | None,
        typer.Option(help="Released classifiers to evaluate, by region; may be repeated."),
    ] = None,
    classifier: Annotated[
        list[str] | None, typer.Option(help="Weight files of classifiers to evaluate; may be repeated.")
    ] = None,
    segmenter: Annotated[str, typer.Option(help="Weights of stage 1.")] = "segmenter",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the JSON and CSV files.")
    ] = None,
    name: Annotated[str, typer.Option(help="Stem of the files.")] = "evaluation",
    seed: Annotated[
        int, typer.Option(help="Of the split, where no file is given, and of the bootstrap.")
    ] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples, drawn by group.")] = 2000,
    cache: MaskCache = None,
    plots: Annotated[bool, typer.Option(help="Write a reliability diagram a classifier, with --out.")] = True,
    device: Device = "auto",
) -> None:
    """Measure both stages on a part of a dataset, with 95% intervals by group."""
    import tempfile

    from lungcls.classifier import Classifier
    from lungcls.cli.progress import bar
    from lungcls.data import RadiographyDatabase, Split, open_dataset, split_dataset
    from lungcls.evaluation.release import evaluate_release
    from lungcls.evaluation.tables import format_confusion, format_table, write_csv, write_results
    from lungcls.segmenter import Segmenter

    dataset = open_dataset(data)
    records, chosen = dataset.records, None
    names = [*(f"classifier-{name}" for name in region or []), *(classifier or [])]
    if isinstance(dataset, RadiographyDatabase):
        names = names or ["classifier-mask", "classifier-full"]
        if split != "all":
            chosen = Split.read_csv(split_file) if split_file else split_dataset(dataset, seed=seed)
            records = chosen.select(records, split)
    elif names:
        typer.echo(f"lungcls: {data} has lung masks and no classes: only stage 1 is evaluated", err=True)
        names = []
    with tempfile.TemporaryDirectory() as temporary:
        found = evaluate_release(
            dataset,
            records,
            Segmenter.load(segmenter, device),
            [Classifier.load(name, device) for name in names],
            cache or temporary,
            split=chosen,
            part=split if chosen else "all",
            n_resamples=resamples,
            seed=seed,
            progress=bar,
        )
    payload = found.payload
    typer.echo(f"{payload['images']} images of {payload['dataset']}, part {payload['part']}")
    for note in payload["notes"]:
        typer.echo(f"Note: {note}")
    typer.echo(format_table(found.rows))
    for model, report in payload["reports"].items():
        if "confusion_matrix" in report:
            typer.echo(f"\n{model}, rows true, columns predicted:")
            typer.echo(format_confusion(report["classes"], report["confusion_matrix"]["counts"]))
    if out is not None:
        written = [*write_results(out, name, found.rows, payload)]
        if found.answers:
            written.append(write_csv(out, f"{name}_answers", found.answers))
        if plots:
            written += _diagrams(out, name, payload)
        typer.echo(f"written: {', '.join(str(path) for path in written)}")


def _diagrams(out: Path, name: str, payload: dict[str, Any]) -> list[Path]:
    """Draw what is to be drawn; the figures are worth keeping where that cannot be done."""
    from lungcls.errors import MissingExtraError
    from lungcls.evaluation.reliability import save_diagram

    written = []
    try:
        for model, report in payload["reports"].items():
            if "trust" in report:
                title = f"{model} on {payload['dataset']}, part {payload['part']}"
                written.append(save_diagram(report["trust"], out / f"{name}_reliability_{model}.png", title))
    except MissingExtraError as error:
        typer.echo(f"lungcls: {error}", err=True)
    return written
