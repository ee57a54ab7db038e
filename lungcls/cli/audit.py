"""``lungcls audit``."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Device,
    Layout,
    Limit,
    Masks,
    OutFolder,
    Resamples,
    Seed,
    SegmenterName,
    SplitFile,
)
from lungcls.cli.parts import check_weights, chosen_part
from lungcls.errors import OptionError
from lungcls.regions import Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lungcls.audit.predictions import PredictionAudit
    from lungcls.audit.subjects import Seen
    from lungcls.shortcuts.suite import Examination


def audit(
    model: Annotated[
        str,
        typer.Argument(
            metavar="PREDICTIONS.csv|MODEL",
            help="A table of predictions; or a model: weights of lungcls, .onnx, .pt2, TorchScript, .keras, "
            ".skops, timm:NETWORK=FILE, hf:FOLDER, xrv:FINDING=FILE, or FILE.py:FUNCTION that returns a "
            "lungcls.shortcuts.Subject.",
        ),
    ],
    out: OutFolder,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            exists=True,
            dir_okay=False,
            help="CSV with what is known of the films: file, label, patient, group, part, source, "
            "processing, age, sex, view, device.",
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features", exists=True, dir_okay=False, help="Features of the model, .npy, a row a prediction."
        ),
    ] = None,
    external: Annotated[
        list[Path] | None,
        typer.Option(
            "--external",
            exists=True,
            help="Another collection: its predictions as CSV with labels, or, for a model, its folder. May "
            "be repeated.",
        ),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="Further columns of the manifest to make subgroups of, by commas.")
    ] = "",
    row_model: Annotated[
        str, typer.Option("--model", help="Whose rows, where a table holds the answers of several models.")
    ] = "",
    outputs: Annotated[
        str,
        typer.Option("--outputs", help="Classes in the order of the outputs, where no file says it."),
    ] = "",
    input_size: Annotated[
        int, typer.Option("--input-size", min=0, help="Side of the images of a model.")
    ] = 0,
    region: Annotated[
        str, typer.Option("--region", help="What a model without a card was trained to see.")
    ] = "full",
    mean: Annotated[str, typer.Option("--mean", help="Of its normalisation, one or one a channel.")] = "0.5",
    std: Annotated[str, typer.Option("--std", help="Of its normalisation, one or one a channel.")] = "0.25",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", envvar="LUNGCLS_DATA", help="Folder of the dataset that a model is asked about."
        ),
    ] = None,
    part: Annotated[
        str,
        typer.Option(
            "--part", help="Part of the split; for predictions, of the manifest. If left out: test, all."
        ),
    ] = "",
    split: SplitFile = None,
    layout: Layout = None,
    classes: Classes = None,
    checks: Annotated[
        str, typer.Option("--checks", help="Checks of the pixels by number or name, or 'all', or 'none'.")
    ] = "all",
    masks: Masks = "predicted",
    segmenter: SegmenterName = "segmenter",
    limit: Limit = 0,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    cache: Cache = None,
    device: Device = "auto",
) -> None:
    """Ask whether a model looks at the lungs or at the hospital: anybody's model, or its predictions alone.

    Exit code: 0 done, whatever the verdicts; 2 wrong use.
    """
    from lungcls.audit.subjects import Seen
    from lungcls.render.drawing import new_figure

    new_figure(1, 1)  # a missing matplotlib is told before minutes of work, not after
    further = [name.strip() for name in by.split(",") if name.strip()]
    named = tuple(name.strip() for name in outputs.split(",") if name.strip())
    if model.lower().endswith(".csv"):
        _of_predictions(
            Path(model), out, manifest, features, external or [], further, row_model, named, part, split,
            seed, resamples,
        )  # fmt: skip
        return
    if features is not None or row_model:
        raise OptionError(
            "--features and --model belong to a table of predictions; a model shows its own features"
        )
    if data is None:
        raise OptionError("a model is asked about films: name their folder with --data")
    seen = Seen(named, input_size, Region(region), _numbers("--mean", mean), _numbers("--std", std))
    _of_model(
        model, seen, out, data, manifest, external or [], further, part or "test", split, layout, classes,
        checks, masks, segmenter, limit, resamples, seed, cache, device,
    )  # fmt: skip


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise OptionError(f"{option} is {text!r}; expected numbers, separated by commas")
    return values


def _of_predictions(
    path: Path,
    out: Path,
    manifest: Path | None,
    features: Path | None,
    external: Sequence[Path],
    by: Sequence[str],
    model: str,
    classes: tuple[str, ...],
    part: str,
    split: Path | None,
    seed: int,
    resamples: int,
) -> None:
    from lungcls.audit.dependence import read_features
    from lungcls.audit.predictions import audit_predictions
    from lungcls.audit.table import read_predictions
    from lungcls.data import Split

    if not path.is_file():
        raise OptionError(f"{path}: there is no such file")
    table = read_predictions(path, manifest, classes=classes, model=model, by=by)
    values = read_features(features, len(table)) if features else None
    if split:
        table = table.with_split(Split.read_csv(split))
    if part:
        whole = table
        table = table.of_part(part)
        if values is not None:
            kept = set(table.answers.files)
            values = values[[file in kept for file in whole.answers.files]]
    others = {
        each.stem: read_predictions(each, classes=table.answers.classes, model=model) for each in external
    }
    done = audit_predictions(table, features=values, externals=others, seed=seed, n_resamples=resamples)
    _write(out, done, None, [])


def _of_model(
    text: str,
    seen: Seen,
    out: Path,
    data: Path,
    manifest: Path | None,
    external: Sequence[Path],
    by: Sequence[str],
    part: str,
    split: Path | None,
    layout: str | None,
    classes: str | None,
    checks: str,
    masks: str,
    segmenter: str,
    limit: int,
    resamples: int,
    seed: int,
    cache: Path | None,
    device: str,
) -> None:
    from lungcls.audit.asked import ask
    from lungcls.audit.predictions import audit_predictions
    from lungcls.audit.subjects import load_any
    from lungcls.cli.shortcuts import find_masks
    from lungcls.data import Split, open_dataset, open_externals
    from lungcls.evaluation.results import write_csv
    from lungcls.evaluation.sampling import limit_records
    from lungcls.progress import bar
    from lungcls.shortcuts.check import Audit, choose_checks
    from lungcls.shortcuts.suite import examine
    from lungcls.study.study import Study

    names = checks.split(",")
    if checks != "none":
        choose_checks(names)
    check_weights([segmenter], "segmentation")
    subject = load_any(text, seen, device)
    database = open_dataset(data, layout=layout, classes=classes)
    others = open_externals(external)
    records, chosen = chosen_part(database, part, split, seed)
    records = [record for record in records if record.label in subject.classes]
    if limit:
        records = limit_records(records, chosen or Split({}, {}), limit, seed)

    find = partial(find_masks, segmenter=segmenter, cache=cache or out / "masks", device=device)
    lungs = find(database, records, masks)
    records = [record for record in records if record.file in lungs]  # of --masks truth, those with a mask
    study = Study(database, records, lungs, chosen, part, seed, resamples)
    abroad = {}
    for name, other in others.items():
        known = [record for record in other.records if record.label in subject.classes]
        abroad[name] = Study(other, known, find(other, known, "predicted"), None, "all", seed, resamples)
    table, features = ask(subject, study, manifest, by=by, progress=bar)
    write_csv(out, "predictions", table.answers.to_rows())  # kept, should a check of the pixels fail
    asked = {name: ask(subject, other, progress=bar)[0] for name, other in abroad.items()}
    done = audit_predictions(table, features=features, externals=asked, seed=seed, n_resamples=resamples)
    seen_by = None
    if checks != "none":
        seen_by = examine(subject, study, checks=names, audit=Audit(externals=abroad, progress=bar))
    _write(out, done, seen_by, seen_by.payload["notes"] if seen_by else [])


def _write(out: Path, done: PredictionAudit, images: Examination | None, notes: Sequence[str]) -> None:
    from lungcls.audit.page import write_audit
    from lungcls.evaluation.results import write_results

    findings = [*(images.checks if images else []), *done.findings]
    typer.echo(f"{done.name}, {done.payload['images']} films")
    for note in notes:
        typer.echo(f"Note: {note}")
    for finding in findings:
        typer.echo(f"{finding.verdict:14} {finding.title}\n{'':14} {finding.because}")
    rows = [
        {"model": done.name, "question": finding.name, "verdict": finding.verdict, **row}
        for finding in findings
        for row in finding.rows
    ]
    payload = {"predictions": done.payload, "images": images.payload if images else None}
    written = [*write_results(out, "audit", rows, payload)]
    written.append(write_audit(out / "audit.html", done, images.checks if images else (), notes))
    typer.echo(f"\nwritten: {', '.join(str(path) for path in written)}")
