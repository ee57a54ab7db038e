"""``lungcls evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lungcls.cli.options import (
    PARTS,
    Cache,
    Classes,
    Data,
    Device,
    Layout,
    Resamples,
    Seed,
    SegmenterName,
    SplitFile,
    one_of,
)
from lungcls.cli.parts import check_weights, chosen_part
from lungcls.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lungcls.answering import Answerer
    from lungcls.data import Dataset, Record
    from lungcls.finder import Finder

RELEASED = ("classifier-mask", "classifier-full")
"""Evaluated where no classifier is named."""

HEADLINES = (
    "dice_mean", "hd95_mean", "accuracy", "macro_f1", "macro_auroc", "auroc", "average_precision", "ece",
)  # fmt: skip
"""What is printed of each stage unless --table asks for all."""


def _plain_name(name: str) -> str:
    if not name or Path(name).name != name:
        raise OptionError(f"--name is {name!r}; expected a name without folders, such as 'evaluation'")
    return name


def evaluate(
    data: Data,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="|".join(PARTS),
            callback=one_of("--part", PARTS),
            help="Part of the split, or all images. If left out, test, or all of a dataset without classes.",
            show_default=False,
        ),
    ] = None,
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    region: Annotated[
        list[str] | None,
        typer.Option("--region", help="Released classifiers to evaluate, by region; may be repeated."),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option("--classifier", metavar="NAME|PATH", help="Classifiers to evaluate; may be repeated."),
    ] = None,
    segmenter: SegmenterName = "segmenter",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", file_okay=False, help="Folder for the JSON and CSV files."),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", callback=_plain_name, help="Stem of the files.")
    ] = "evaluation",
    table: Annotated[
        bool, typer.Option("--table", help="Print every figure, by class and by source.")
    ] = False,
    seed: Seed = 0,
    resamples: Resamples = 2000,
    cache: Cache = None,
    plots: Annotated[
        bool, typer.Option("--plots/--no-plots", help="Write a reliability diagram a classifier, with --out.")
    ] = True,
    device: Device = "auto",
) -> None:
    """Measure both stages on a part of a dataset, with 95% intervals by group.

    Stage 1 is measured where images have lung masks, stage 2 where they have classes.
    """
    import tempfile

    from lungcls.data import open_dataset
    from lungcls.evaluation.evaluate import evaluate as run
    from lungcls.evaluation.results import write_csv, write_results
    from lungcls.finder import Finder
    from lungcls.progress import bar
    from lungcls.render.tables import format_confusion, format_table
    from lungcls.study.study import Study

    names = [*(f"classifier-{one}" for one in region or []), *(classifier or [])]
    check_weights(names, "classification")
    check_weights([segmenter], "segmentation")
    dataset = open_dataset(data, layout=layout, classes=classes)
    part = part or ("test" if dataset.classes or split else "all")
    records, chosen = chosen_part(dataset, part, split, seed)
    finder = Finder.load(segmenter, device=device)
    answerers = _answerers(dataset, records, names, finder, device)
    with tempfile.TemporaryDirectory() as temporary:
        study = Study.open(
            dataset,
            finder,
            records=records,
            split=chosen,
            part=part,
            cache=cache or temporary,
            seed=seed,
            n_resamples=resamples,
            progress=bar,
        )
        evaluation = run(study, finder.segmenter, answerers, bar)
    payload = evaluation.payload
    typer.echo(f"{payload['images']} images of {payload['dataset']}, part {payload['part']}")
    films = payload["films"]
    typer.echo(
        f"the gate refuses {films['refused']}, which get no label, and corrects {films['corrected']}; "
        f"{films['without_two_lungs']} show no two lungs"
    )
    for note in payload["notes"]:
        typer.echo(f"Note: {note}")
    headlines = [row for row in evaluation.rows if row["metric"] in HEADLINES and not row.get("class")]
    typer.echo(format_table(evaluation.rows if table else headlines))
    for model, report in payload["reports"].items():
        if "confusion_matrix" in report:
            typer.echo(f"\n{model}, rows true, columns predicted:")
            typer.echo(format_confusion(report["classes"], report["confusion_matrix"]["counts"]))
    if out is not None:
        written = [*write_results(out, name, evaluation.rows, payload)]
        if evaluation.answers:
            written.append(write_csv(out, f"{name}_answers", evaluation.answers))
        if plots:
            written += _diagrams(out, name, payload)
        typer.echo(f"\nwritten: {', '.join(str(path) for path in written)}")
    if not table:
        place = "in the CSV file" if out is not None else "printed with --table, and written with -o"
        typer.echo(f"{len(evaluation.rows)} figures, by class and by source, are {place}")


def _answerers(
    dataset: Dataset, records: Sequence[Record], names: Sequence[str], finder: Finder, device: str
) -> list[Answerer]:
    """Load those that were asked for, else the released ones; none where only stage 1 can be measured."""
    from lungcls.pipeline import Pipeline
    from lungcls.study.study import check_classes, unknown_classes

    if not dataset.classes:
        if names:
            typer.echo(f"lungcls: {dataset.root} has no classes: only stage 1 is evaluated", err=True)
        return []
    stages: dict[str, Any] = {"segmenter": finder.segmenter, "gate": finder.gate, "device": device}
    answerers = [Pipeline(classifier=name, **stages).answerer for name in names or RELEASED]
    unknown = [] if dataset.multilabel else unknown_classes(records, answerers[0].classifier.card)
    # Without masks nothing would be left to evaluate: then, as for those asked for, the evaluation refuses.
    if unknown and not names and any(record.mask for record in records):
        typer.echo(
            f"lungcls: {dataset.root} has images of the classes {', '.join(map(repr, unknown))}, which the "
            "released classifiers do not know: only stage 1 is evaluated; --classes gives other classes",
            err=True,
        )
        return []
    for answerer in answerers:
        check_classes(dataset, records, answerer.classifier.card)
    return answerers


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
