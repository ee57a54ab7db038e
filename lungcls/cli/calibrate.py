"""``lungcls calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Data,
    Device,
    Layout,
    Part,
    Resamples,
    Seed,
    SegmenterName,
    SplitFile,
)
from lungcls.cli.parts import check_weights, chosen_part

if TYPE_CHECKING:
    from lungcls.evaluation.recalibrate import Recalibration


_OF_FINDINGS = ("brier", "ece", "f1", "coverage")
"""What calibrating changes of a multi-label classifier; its ranks stay."""


def calibrate(
    weights: Annotated[str, typer.Argument(help="A classifier: released name or path.")],
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder or .safetensors file for a copy of the weights with the new card; the weights' own "
            "folder replaces their card. Without it nothing is written.",
        ),
    ] = None,
    part: Part = "validation",
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    bias: Annotated[
        bool,
        typer.Option(
            "--bias",
            help="Fit a bias by class too, for classes that are not as frequent as in training: makes other "
            "weights.",
        ),
    ] = False,
    segmenter: SegmenterName = "segmenter",
    seed: Seed = 0,
    resamples: Resamples = 2000,
    cache: Cache = None,
    device: Device = "auto",
) -> None:
    """Fit a classifier's temperature and conformal sets anew, on any database it was not trained on."""
    import tempfile

    from lungcls.classifier import Classifier
    from lungcls.data import open_dataset
    from lungcls.evaluation.recalibrate import recalibrate, write_calibrated
    from lungcls.finder import Finder
    from lungcls.progress import bar
    from lungcls.study.study import Study, check_classes

    check_weights([weights], "classification")
    check_weights([segmenter], "segmentation")
    dataset = open_dataset(data, layout=layout, classes=classes)
    records, chosen = chosen_part(dataset, part, split, seed)
    classifier = Classifier.load(weights, device)
    check_classes(dataset, records, classifier.card)
    finder = Finder.load(segmenter if classifier.region.needs_mask else None, device=device)
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
        recalibration = recalibrate(study, classifier, bias=bias, progress=bar)
    typer.echo(f"{classifier.card.name} on {len(records)} images of {dataset.title}, part {part}")
    notes = study.notes(classifier.card)
    if chosen is None:
        notes = [f"all images were taken: make sure that {classifier.card.name} was trained on none of them"]
    for note in notes:
        typer.echo(f"Note: {note}")
    _show(recalibration)
    if out is None:
        typer.echo("nothing is written without --out")
        return
    path = write_calibrated(recalibration, weights, out)
    typer.echo(f"written: {path.with_suffix('.json')}; use it with --classifier {path}")


def _show(recalibration: Recalibration) -> None:
    from lungcls.evaluation.multilabel import FindingsReport
    from lungcls.evaluation.trust import AFTER
    from lungcls.render.tables import format_table

    reports = {"old card": recalibration.before, "new card": recalibration.after}
    rows: list[dict[str, Any]] = []
    for when, report in reports.items():
        if isinstance(report, FindingsReport):
            rows += [{"": when, **row} for row in report.to_rows() if row["metric"] in _OF_FINDINGS]
            continue
        rows.append({"": when, "metric": "temperature", "value": report.temperature})
        for metric in ("nll", "brier", "ece", "classwise_ece"):
            rows.append({"": when, "metric": metric, **report.calibration[AFTER][metric, ""].to_dict()})
    typer.echo(format_table(rows))
    rows = [
        {"class": name, "images": scores["images"], "groups": scores["groups"]}
        for name, scores in recalibration.card.conformal["classes"].items()
    ]
    kind = "finding" if recalibration.card.multilabel else "class"
    typer.echo(f"\nConformal sets ({recalibration.card.conformal['score']}), calibrated {kind} by {kind}:")
    typer.echo(format_table(rows))
