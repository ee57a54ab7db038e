"""``lungcls finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Device,
    Epochs,
    Layout,
    Resamples,
    RunFolder,
    Seed,
    SegmenterName,
    SplitFile,
    Workers,
    one_of,
)
from lungcls.cli.parts import check_weights
from lungcls.errors import OptionError

if TYPE_CHECKING:
    from lungcls.data import Dataset
    from lungcls.training.finetune import Finetuned

_TASKS = ("classification", "segmentation")
_HEADLINES = ("macro_f1", "macro_auroc", "accuracy", "ece", "auroc", "average_precision", "f1", "coverage")
_OF_MASKS = ("dice_mean", "iou_mean", "hd95_mean")


def finetune(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder a class, a CSV file of paths and labels, or any layout that lungcls reads.",
        ),
    ],
    out: RunFolder,
    task: Annotated[
        str,
        typer.Option(
            "--task",
            metavar="|".join(_TASKS),
            callback=one_of("--task", _TASKS),
            help="segmentation fine-tunes stage 1 on lung masks, such as those of `lungcls masks review`.",
        ),
    ] = "classification",
    region: Annotated[
        str, typer.Option("--region", help="What the classifier sees: mask, crop or full.")
    ] = "mask",
    start: Annotated[
        str | None,
        typer.Option(
            "--start", metavar="NAME|PATH", help="Weights to start from; classifier-REGION if left out."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the new weights; finetuned if left out.")] = "",
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    segmenter: SegmenterName = "segmenter",
    seed: Seed = 0,
    epochs: Epochs = None,
    resamples: Resamples = 2000,
    cache: Cache = None,
    device: Device = "auto",
    workers: Workers = 1,
) -> None:
    """Fine-tune a released network on your own classes, findings or lung masks.

    A linear model of the frozen features first, then the last block; calibrated on the validation part and
    measured on the test part, both apart from the training films by patient and near duplicates.
    """
    from lungcls.data import Split
    from lungcls.progress import bar
    from lungcls.study.context import RunContext
    from lungcls.training.finetune import finetune as run

    chosen = start or ("segmenter" if task == "segmentation" else f"classifier-{region}")
    check_weights([chosen], task)
    check_weights([segmenter], "segmentation")
    _check_name(name)
    dataset = _opened(data, layout, classes, task)
    result = run(
        dataset,
        out,
        start=chosen,
        task=task,
        split=Split.read_csv(split) if split else None,
        segmenter=segmenter,
        name=name,
        seed=seed,
        epochs=epochs,
        n_resamples=resamples,
        context=RunContext(device=device, workers=workers, cache=cache, show_progress=True, progress=bar),
    )
    _write_report(out, dataset, result, task)
    typer.echo((out / "report.md").read_text(encoding="utf-8"))
    typer.echo(f"written: {result.weights} and its card, {out / 'report.md'}, {out / 'test.json'}")
    option = "--segmenter" if task == "segmentation" else "--classifier"
    typer.echo(f"use it with: lungcls predict FILES {option} {result.best}")


def _check_name(name: str) -> None:
    from lungcls.cards import is_stem

    if name and not is_stem(name):
        raise OptionError(f"--name is {name!r}; expected the stem of a file's name, such as tb-classifier")


def _opened(data: Path, layout: str | None, classes: str | None, task: str) -> Dataset:
    from lungcls.data import open_dataset

    if task == "segmentation" and layout is None and (data / "masks").is_dir():
        layout = "masks"
    return open_dataset(data, layout=layout, classes=classes)


def _write_report(out: Path, dataset: Dataset, result: Finetuned, task: str) -> None:
    """Write ``report.md``: what was trained on what, and the figures on the test part."""
    from lungcls.files import write_text
    from lungcls.labels import NOTICE
    from lungcls.render.tables import format_table
    from lungcls.weights import load_card

    card = load_card(result.weights)
    wanted = _OF_MASKS if task == "segmentation" else _HEADLINES
    rows = [row for row in result.rows if row["metric"] in wanted and row.get("films", "all") == "all"]
    counts: dict[str, dict[str, int]] = card.training_data["images"]
    films = [
        {"class": one, **{part: counts[part].get(one, 0) for part in counts}}
        for one in (card.classes if task == "classification" else sorted(set().union(*counts.values())))
    ]
    notes = [*dataset.notes, *(f"left out: {count} ({why})" for why, count in dataset.dropped.items())]
    origin = card.recipe["init"] if task == "segmentation" else _origin(card.ancestors)
    lines = [
        f"# {card.name}: {', '.join(card.classes)}",
        "",
        NOTICE,
        "",
        f"From {origin}, on {dataset.title}: split {result.split.hash}, {result.split.counts()}.",
        "No patient and no near duplicate is in two parts. Figures are of the test part, with 95% intervals.",
        "",
        format_table(films),
        "",
        format_table([{key: value for key, value in row.items() if key != "films"} for row in rows]),
        "",
        *(f"- {note}" for note in [*_choice(out, result), *notes]),
    ]
    write_text(out / "report.md", "\n".join(lines).rstrip() + "\n")


def _choice(out: Path, result: Finetuned) -> list[str]:
    """Say where the linear model of frozen features is the better one."""
    if result.best == result.weights:
        return []
    return [
        f"On the validation part the frozen features have the lower Brier score: take "
        f"{result.best.relative_to(out)}, or train on more films."
    ]


def _origin(ancestors: tuple[dict[str, Any], ...]) -> str:
    """The released weights behind the linear model of frozen features."""
    starts = [one["name"] for one in ancestors if one["role"] == "init" and "through" in one]
    return starts[0] if starts else "the given weights"
