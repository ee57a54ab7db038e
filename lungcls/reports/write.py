"""Everything to know about one or several trained models, in one folder."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset
from lungcls.data.splits import PARTS, Split, split_dataset
from lungcls.errors import DataError
from lungcls.evaluation.classification import ClassificationReport, classification_report
from lungcls.evaluation.results import write_csv, write_results
from lungcls.files import write_text
from lungcls.finder import Finder
from lungcls.gate.screening import Gate
from lungcls.progress import Progress, quiet
from lungcls.regions import Region
from lungcls.render.drawing import save_figure
from lungcls.render.html import write_page
from lungcls.render.tables import format_table
from lungcls.reports.curves import curves, read_history
from lungcls.reports.gallery import gallery, misclassified
from lungcls.reports.measure import measure
from lungcls.reports.plots import class_bars, confusion_matrix, finding_bars
from lungcls.reports.roc import roc_curves, roc_figure, roc_rows
from lungcls.reports.runs import Run, common_split, find_runs
from lungcls.reports.text import comparison_values, finding_rows, model_rows, pair_rows
from lungcls.study.answers import Answers, ensemble
from lungcls.study.compare import Comparison, compare
from lungcls.study.findings import FindingAnswers, ask_findings
from lungcls.study.provenance import provenance
from lungcls.study.study import Study
from lungcls.weights import load_card

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """What a report wrote.

    Attributes
    ----------
    page : Path
        ``index.html``.
    comparison : Comparison or None
        None where no run was finished, and of findings: each model is then in ``findings.{json,csv}`` of its
        own folder.
    notes : list of str
    """

    page: Path
    comparison: Comparison | None
    notes: list[str]


def write_report(
    names: Sequence[str | Path],
    database: Dataset,
    out: str | Path,
    *,
    part: str = "test",
    split: Split | None = None,
    segmenter: str | Path = "segmenter",
    gate: str | Path | Gate | None = "gate",
    cache: str | Path | None = None,
    images: int = 24,
    n_resamples: int = 2000,
    seed: int = 0,
    device: str = "auto",
    progress: Progress[Any] = quiet,
) -> Written:
    """Evaluate trained classifiers on a part of a dataset, and draw, tabulate and compare what they say.

    Parameters
    ----------
    names : sequence of str or path-like
        Folders of `lungcls train`, weight files or released names.
    database : Dataset
    out : path-like
        Gets ``index.html``, ``comparison.{json,csv,md}``, ``comparison_pairs.csv`` and a folder a model with
        its curves, confusion matrix, bars, ROC curves, mistakes and answers, as PNG and CSV. The galleries
        show the images: they are for this machine's user, not to be published where the images may not.
    part : {"test", "validation", "train", "all"}, default="test"
    split : Split, optional
        By default that of the runs; where none is known, the one of seed 0.
    segmenter : str or path-like, default="segmenter"
        Whose masks the regions are cut with.
    gate : str, path-like, Gate or None
        That judges and corrects the films; None for none.
    cache : path-like, optional
        Folder for predicted masks; by default ``out``.
    images : int, default=24
        Largest number in a gallery.
    n_resamples : int, default=2000
    seed : int, default=0
        Of the bootstrap.
    device : str, default="auto"
    progress : callable, optional

    Returns
    -------
    Written

    Raises
    ------
    DataError
        If a run cannot be found, the runs' splits differ, or the images are of other classes.
    WeightsError
        If weights cannot be loaded.
    MissingExtraError
        If matplotlib is not installed.
    """
    start = time.perf_counter()
    out = Path(out)
    runs = find_runs(names)
    if part not in (*PARTS, "all"):
        raise DataError(f"unknown part {part!r}; expected one of {', '.join((*PARTS, 'all'))}")
    notes = [f"{run.name} is not finished: only its curves are drawn" for run in runs if not run.weights]
    pictures: dict[str, list[str]] = {run.name: [] for run in runs}
    folders = dict(zip(pictures, _folders(list(pictures))))
    for run in runs:
        if run.history is not None:
            history = read_history(run.history)
            save_figure(curves(history, run.name), out / folders[run.name] / "curves.png")
            write_csv(out / folders[run.name], "curves", history)
            pictures[run.name].append(f"{folders[run.name]}/curves.png")
    usable, extra = _classifiers(runs)
    notes += extra
    comparison = None
    tables: dict[str, Any] = {}
    if usable:
        chosen = split or common_split(runs) or split_dataset(database, seed=0, cache=out / "duplicates.json")
        cards = [load_card(str(run.weights)) for run in usable]
        masked = any(Region(**(card.region or {})).needs_mask for card in cards)
        study = Study.open(
            database,
            Finder.load(segmenter if masked else None, gate, device),
            split=chosen,
            part=part,
            cache=cache or out,
            n_resamples=n_resamples,
            seed=seed,
            progress=progress,
        )
        for card in cards:
            notes += study.notes(card)
        about = {**study.about(), "notes": [*notes]}
        notes.insert(0, f"{len(study):,} images of {database.title}, part {part}, split {chosen.hash}.")
        if refused := about["films"]["refused"]:
            notes.insert(1, f"{refused:,} of them the quality gate refuses: prediction gives them no label.")
    if usable and database.multilabel:
        for run in usable:
            classifier = Classifier.load(str(run.weights), device)
            said = ask_findings(study, classifier, progress)
            facts = {**about, **provenance([], chosen, start=start)}
            tables |= _write_findings(run.name, said, out / folders[run.name], facts)
            pictures[run.name].append(f"{folders[run.name]}/findings.png")
    elif usable:
        answers = [
            measure(study, str(run.weights), name=run.name, device=device, progress=progress)
            for run in usable
        ]
        if len(answers) > 1 and len({one.classes for one in answers}) == 1:
            answers.append(ensemble(answers))
            folders["ensemble"], pictures["ensemble"] = "ensemble", []
        for one in answers:
            report = classification_report(
                one.labels, one.probabilities, one.groups, one.classes, n_resamples, seed
            )
            pictures[one.name] += _write_model(one, report, study, out, folders[one.name], images)
        comparison = compare({one.name: [one] for one in answers}, n_resamples=n_resamples, seed=seed)
        weights = {one.name: one.about.get("sha256") for one in answers}
        facts = {**about, **provenance([], chosen, start=start), "weights": weights}
        tables = write_comparison(out, comparison, facts)
    shown = {name: files for name, files in pictures.items() if files}
    page = write_page(
        out / "index.html",
        "report.html",
        title="Report of trained models",
        notes=notes,
        tables=tables,
        pictures=shown,
    )
    return Written(page, comparison, notes)


def write_comparison(
    out: Path, comparison: Comparison, about: Mapping[str, Any], name: str = "comparison"
) -> dict[str, list[dict[str, str]]]:
    """Write a comparison as JSON, CSV (models and pairs) and Markdown; return its tables as text by heading.

    Parameters
    ----------
    out : Path
        Folder.
    comparison : Comparison
    about : mapping
        What else the JSON file says.
    name : str
        Stem of the files; the pairs go into ``<name>_pairs.csv``.
    """
    values = comparison_values(comparison)
    write_results(out, name, values["models"], {**about, **values})
    tables = {"Models, with 95% intervals by group": model_rows(comparison)}
    if values["pairs"]:
        write_csv(out, f"{name}_pairs", values["pairs"])
        tables["Pairs on the same images"] = pair_rows(comparison)
    sections = [f"## {title}\n\n{format_table(rows)}" for title, rows in tables.items()]
    write_text(out / f"{name}.md", "\n\n".join(sections) + "\n")
    return tables


def _classifiers(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    usable, notes = [], []
    for run in runs:
        if run.weights is None:
            continue
        if load_card(str(run.weights)).task == "classification":
            usable.append(run)
        else:
            notes.append(f"{run.name} is no classifier: only its curves are drawn; see `lungcls evaluate`")
    return usable, notes


def _write_model(
    answers: Answers,
    report: ClassificationReport,
    study: Study,
    out: Path,
    folder: str,
    images: int,
) -> list[str]:
    """Write the pictures and tables of one model; return the pictures' files relative to `out`."""
    inside = out / folder
    counts = [
        {"true": name, **dict(zip(report.classes, row)), "images": sum(row)}
        for name, row in zip(report.classes, report.confusion.tolist())
    ]
    roc = roc_curves(answers)
    wrong = misclassified(answers)
    title = f"{answers.name}, {report.n_images:,} images"
    figures = {
        "confusion": confusion_matrix(report, title),
        "classes": class_bars(report, f"{title}, {report.level:.0%} intervals by group"),
        "roc": roc_figure(roc, title),
        "mistakes": gallery(
            wrong[:images], study,
            f"{answers.name}: {len(wrong):,} of {report.n_images:,} are misclassified, the surest first",
        ),
    }  # fmt: skip
    write_csv(inside, "confusion", counts)
    write_csv(inside, "classes", report.to_rows())
    write_csv(inside, "roc", roc_rows(roc))
    write_csv(inside, "mistakes", wrong)
    write_csv(inside, "answers", answers.to_rows())
    for name, figure in figures.items():
        save_figure(figure, inside / f"{name}.png")
    return [f"{folder}/{name}.png" for name in figures]


def _write_findings(
    name: str, said: FindingAnswers, inside: Path, about: Mapping[str, Any]
) -> dict[str, list[dict[str, str]]]:
    """Write the files of one multi-label model; return its table as text by heading."""
    report = said.report()
    values = {**about, "weights": {name: said.card.sha256}, "report": report.to_dict()}
    write_results(inside, "findings", report.to_rows(), values)
    write_csv(inside, "answers", said.to_rows())
    title = f"{name}, {len(said.logits):,} images, 95% intervals by group"
    save_figure(finding_bars(report, title), inside / "findings.png")
    return {f"{name}: findings, with 95% intervals by group": finding_rows(report)}


def _folders(names: Sequence[str]) -> list[str]:
    """Names as folders that every file system takes, none twice."""
    folders: list[str] = []
    for name in names:
        plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"
        while plain.casefold() in {folder.casefold() for folder in (*folders, "ensemble")}:
            plain += "-2"
        folders.append(plain)
    return folders
