"""``lungcls audit``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcls.cli.options import (
    Cache,
    Classes,
    Device,
    FilmsPerChange,
    Layout,
    Limit,
    Masks,
    OutFolder,
    Resamples,
    Seed,
    SegmenterName,
    SplitFile,
    takes,
)
from lungcls.cli.parts import check_weights, chosen_part
from lungcls.errors import OptionError
from lungcls.regions import Region

if TYPE_CHECKING:
    from lungcls.audit.predictions import PredictionAudit
    from lungcls.audit.subjects import Seen
    from lungcls.data import Record
    from lungcls.progress import Tell
    from lungcls.shortcuts.suite import Examination


@dataclass(frozen=True, kw_only=True)
class QuestionOptions:
    """What is asked, of predictions and of models alike."""

    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            exists=True,
            dir_okay=False,
            help="CSV with what is known of the films: file, label, patient, group, part, source, "
            "processing, age, sex, view, device.",
        ),
    ] = None
    external: Annotated[
        list[Path] | None,
        typer.Option(
            "--external",
            exists=True,
            help="Another collection: its predictions as CSV with labels, or, for a model, its folder. May "
            "be repeated.",
        ),
    ] = None
    by: Annotated[
        str, typer.Option("--by", help="Further columns of the manifest to make subgroups of, by commas.")
    ] = ""
    part: Annotated[
        str,
        typer.Option(
            "--part", help="Part of the split; for predictions, of the manifest. If left out: test, all."
        ),
    ] = ""
    split: SplitFile = None
    resamples: Resamples = 1000
    seed: Seed = 0

    @property
    def further(self) -> list[str]:
        """Names of ``--by``."""
        return _names(self.by)


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What belongs to a table of predictions."""

    features: Annotated[
        Path | None,
        typer.Option(
            "--features", exists=True, dir_okay=False, help="Features of the model, .npy, a row a prediction."
        ),
    ] = None
    row_model: Annotated[
        str, typer.Option("--model", help="Whose rows, where a table holds the answers of several models.")
    ] = ""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a model was trained to see, where its file does not say it."""

    outputs: Annotated[
        str,
        typer.Option("--outputs", help="Classes in the order of the outputs, where no file says it."),
    ] = ""
    input_size: Annotated[int, typer.Option("--input-size", min=0, help="Side of the images of a model.")] = 0
    region: Annotated[
        str, typer.Option("--region", help="What a model without a card was trained to see.")
    ] = "full"
    mean: Annotated[str, typer.Option("--mean", help="Of its normalisation, one or one a channel.")] = "0.5"
    std: Annotated[str, typer.Option("--std", help="Of its normalisation, one or one a channel.")] = "0.25"

    def seen(self) -> Seen:
        """Return them read and checked."""
        from lungcls.audit.subjects import Seen

        mean, std = _numbers("--mean", self.mean), _numbers("--std", self.std)
        return Seen(tuple(_names(self.outputs)), self.input_size, Region(self.region), mean, std)


@dataclass(frozen=True, kw_only=True)
class FilmOptions:
    """Which films a model is asked about, and by which checks."""

    data: Annotated[
        Path | None,
        typer.Option(
            "--data", envvar="LUNGCLS_DATA", help="Folder of the dataset that a model is asked about."
        ),
    ] = None
    layout: Layout = None
    classes: Classes = None
    checks: Annotated[
        str, typer.Option("--checks", help="Checks of the pixels by number or name, or 'all', or 'none'.")
    ] = "all"
    masks: Masks = "predicted"
    segmenter: SegmenterName = "segmenter"
    limit: Limit = 0
    films_per_change: FilmsPerChange = 300
    cache: Cache = None
    device: Device = "auto"


@takes(FilmOptions)
@takes(ModelOptions)
@takes(TableOptions)
@takes(QuestionOptions)
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
    asked: QuestionOptions,
    table: TableOptions,
    seen: ModelOptions,
    films: FilmOptions,
) -> None:
    """Ask whether a model looks at the lungs or at the hospital: anybody's model, or its predictions alone.

    Exit code: 0 done, whatever the verdicts; 2 wrong use.
    """
    from lungcls.render.drawing import new_figure

    new_figure(1, 1)  # a missing matplotlib is told before minutes of work, not after
    if model.lower().endswith(".csv"):
        _of_predictions(Path(model), out, asked, table, tuple(_names(seen.outputs)))
        return
    if table != TableOptions():
        raise OptionError(
            "--features and --model belong to a table of predictions; a model shows its own features"
        )
    if films.data is None:
        raise OptionError("a model is asked about films: name their folder with --data")
    _of_model(model, seen.seen(), out, films.data, asked, films)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise OptionError(f"{option} is {text!r}; expected numbers, separated by commas")
    return values


def _labels(paths: Iterable[Path]) -> dict[Path, str]:
    """Return what each file is called: its name, and as many of its folders as tell it from the others."""
    files = list(dict.fromkeys(path.resolve() for path in paths))
    labels = {}
    for path in files:
        parts = path.with_suffix("").parts
        others = [other.with_suffix("").parts for other in files if other != path]
        shortest = (n for n in range(1, len(parts) + 1) if all(o[-n:] != parts[-n:] for o in others))
        n = next(shortest, 0)
        labels[path] = "/".join(parts[-n:]) if n else str(path)  # a.csv and a.CSV of one folder
    return labels


def _of_predictions(
    path: Path, out: Path, asked: QuestionOptions, own: TableOptions, classes: tuple[str, ...]
) -> None:
    from lungcls.audit.features import read_features
    from lungcls.audit.predictions import audit_predictions
    from lungcls.audit.table import read_predictions
    from lungcls.data import Split

    if not path.is_file():
        raise OptionError(f"{path}: there is no such file")
    table = read_predictions(path, asked.manifest, classes=classes, model=own.row_model, by=asked.further)
    values = read_features(own.features, len(table)) if own.features else None
    if asked.split:
        table = table.with_split(Split.read_csv(asked.split))
    if asked.part:
        whole = table
        table = table.of_part(asked.part)
        if values is not None:
            kept = set(table.answers.files)
            values = values[[file in kept for file in whole.answers.files]]
    others = {
        label: read_predictions(each, classes=table.answers.classes, model=own.row_model)
        for each, label in _labels(asked.external or []).items()
    }
    done = audit_predictions(
        table, features=values, externals=others, seed=asked.seed, n_resamples=asked.resamples
    )
    _write(out, done, None, [])


def _of_model(
    text: str, seen: Seen, out: Path, data: Path, asked: QuestionOptions, films: FilmOptions
) -> None:
    import numpy as np

    from lungcls.audit.asked import ask
    from lungcls.audit.predictions import audit_predictions
    from lungcls.audit.subjects import load_any
    from lungcls.cli.shortcuts import find_masks
    from lungcls.data import Split, open_dataset, open_externals
    from lungcls.evaluation.results import write_csv
    from lungcls.evaluation.sampling import limit_records
    from lungcls.progress import bar, timed
    from lungcls.shortcuts.check import Audit, choose_checks
    from lungcls.shortcuts.memory import Memory
    from lungcls.shortcuts.suite import examine
    from lungcls.study.study import Study

    tell, memory = partial(typer.echo, err=True), Memory()
    # What answers alone tell is asked of them, once, as of anybody's predictions.
    chosen_checks = [] if films.checks == "none" else choose_checks(films.checks.split(","))
    checks = [check.name for check in chosen_checks if not check.of_answers]
    check_weights([films.segmenter], "segmentation")
    database = open_dataset(data, layout=films.layout, classes=films.classes)
    others = open_externals(asked.external or [])
    subject = load_any(text, seen, films.device)
    part = asked.part or "test"
    with timed(tell, f"{data}: films chosen"):  # copies are looked for where no groups are known
        records, chosen = chosen_part(database, part, asked.split, asked.seed)
    records = _of_known_classes(records, subject.classes, str(data), tell)
    if films.limit:
        records = limit_records(records, chosen or Split({}, {}), films.limit, asked.seed)

    find = partial(
        find_masks, segmenter=films.segmenter, cache=films.cache or out / "masks", device=films.device
    )
    with timed(tell, f"lungs of {len(records)} films"):
        lungs = find(database, records, films.masks)
    with_lungs = [record for record in records if record.file in lungs]
    if without := len(records) - len(with_lungs):
        tell(f"--masks truth: {without} films are left out, of which the dataset has no mask")
    study = Study(database, with_lungs, lungs, chosen, part, asked.seed, asked.resamples)
    abroad = {}
    for name, other in others.items():
        known = _of_known_classes(other.records, subject.classes, name, tell)
        with timed(tell, f"{name}: lungs of {len(known)} films"):
            found = find(other, known, "predicted")
        abroad[name] = Study(other, known, found, None, "all", asked.seed, asked.resamples)
    with timed(tell, f"{subject.name}: answers to {len(study)} films"):
        table, features = ask(subject, study, asked.manifest, by=asked.further, memory=memory, progress=bar)
    # Kept, should a check of the pixels fail; and whoever asks them again gets the same figures.
    write_csv(out, "predictions", table.to_rows())
    if features is not None:
        np.save(out / "features.npy", features.astype(np.float32))
    answers = {}
    for name, elsewhere in abroad.items():
        with timed(tell, f"{name}: answers to {len(elsewhere)} films"):
            answers[name] = ask(subject, elsewhere, memory=memory, progress=bar)[0]
    done = audit_predictions(
        table, features=features, externals=answers, seed=asked.seed, n_resamples=asked.resamples
    )
    images = None
    if checks:
        images = examine(
            subject,
            study,
            checks=checks,
            audit=Audit(
                externals=abroad,
                films_per_change=films.films_per_change,
                progress=bar,
                memory=memory,
                tell=tell,
            ),
        )
    _write(out, done, images, images.payload["notes"] if images else [])


def _of_known_classes(
    records: Sequence[Record], classes: Sequence[str], where: str, tell: Tell
) -> list[Record]:
    """Return the films whose class a model knows, and say which others are left out."""
    others = Counter(record.label or "no class" for record in records if record.label not in classes)
    if others:
        counts = ", ".join(f"{count:,} of {label}" for label, count in sorted(others.items()))
        tell(f"{where}: films that are left out, since the model knows no such class: {counts}")
    return [record for record in records if record.label in classes]


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
