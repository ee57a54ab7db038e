"""What a paper needs of a run, in one folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from lungcls.data.dataset import Dataset
from lungcls.evaluation.results import write_csv
from lungcls.files import write_text
from lungcls.labels import NOTICE
from lungcls.paper.cards import datasheet, model_card
from lungcls.paper.checklists import FILLED, NAMES, NEEDS_YOU, Answer, Checklist, answer, load_checklist
from lungcls.paper.croissant import write_croissant
from lungcls.paper.evidence import Evidence, gather
from lungcls.paper.fact import Fact, interval
from lungcls.paper.facts import all_facts
from lungcls.paper.facts_of_results import HEADLINES, PER_CLASS, accuracy_by_source
from lungcls.paper.figures import CAPTIONS, write_figures
from lungcls.paper.methods import methods
from lungcls.paper.references import bibliography
from lungcls.paper.table_one import table_one
from lungcls.paper.word import write_word
from lungcls.render.tables import markdown_table

Table: TypeAlias = tuple[Sequence[str], Sequence[Sequence[str]]]

FORMATS = ("md", "csv", "docx")


@dataclass(frozen=True)
class Paper:
    """What was written.

    Attributes
    ----------
    page : Path
        ``paper.md``, which leads to all else.
    states : dict of str to dict of str to int
        Items by state, by checklist.
    notes : tuple of str
        What was found in the runs and not used, and what could not be made and why.
    """

    page: Path
    states: dict[str, dict[str, int]]
    notes: tuple[str, ...]


def write_paper(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    dataset: Dataset | None = None,
    model: str | None = None,
    formats: Sequence[str] = FORMATS,
) -> Paper:
    """Write checklists, methods, tables, figures, references, cards and a description of the dataset.

    Parameters
    ----------
    runs : sequence of str or path-like
        As :func:`lungcls.paper.evidence.gather` takes them.
    out : path-like
        Folder: ``paper.md``, ``checklists/``, ``tables/``, ``figures/``, ``references.bib``,
        ``model_card.md``, ``datasheet.md``, ``facts.json``; ``paper.docx``; and with a dataset ``films.csv``
        and ``croissant.json``. Files of these names are replaced.
    dataset : Dataset, optional
        The films: for table one by source, age, sex and view, and for the description.
    model : str, optional
        Of several classifiers, the one that the paper is about.
    formats : sequence of {"md", "csv", "docx"}
        Of the checklists and tables.

    Returns
    -------
    Paper

    Raises
    ------
    DataError
        If the runs hold no classifier, or a file of theirs cannot be read.
    OptionError
        If it is not clear which classifier is meant.
    MissingExtraError
        If matplotlib, mlcroissant or python-docx are needed and not installed.
    """
    out = Path(out)
    evidence = gather(runs, model=model, dataset=dataset)
    facts = all_facts(evidence)
    filled = [(one, [answer(item, facts) for item in one.items]) for one in map(load_checklist, NAMES)]
    tables = _tables(evidence)
    paragraphs = methods(facts)
    # What can fail for want of a package comes before anything is written.
    figures = write_figures(evidence, out / "figures")
    if dataset is not None:
        write_croissant(evidence, out)
    write_text(
        out / "facts.json",
        json.dumps({name: asdict(one) for name, one in facts.items()}, indent=1, ensure_ascii=False) + "\n",
    )
    write_text(out / "references.bib", bibliography(evidence))
    write_text(out / "model_card.md", model_card(facts, evidence.card.name))
    title = (
        dataset.title
        if dataset is not None
        else str(evidence.card.training_data.get("dataset", "the dataset"))
    )
    write_text(out / "datasheet.md", datasheet(facts, title))
    _write_checklists(out, filled, formats)
    _write_tables(out / "tables", tables, formats)
    if "docx" in formats:
        write_word(
            out / "paper.docx",
            f"{evidence.card.name}: material for a paper",
            paragraphs,
            tables,
            figures,
            filled,
        )
    page = out / "paper.md"
    write_text(page, _overview(evidence, facts, filled, paragraphs, tables, figures))
    return Paper(page, {one.name: _states(answers) for one, answers in filled}, evidence.notes)


def _states(answers: Sequence[Answer]) -> dict[str, int]:
    return dict(Counter(one.state for one in answers).most_common())


def _tables(evidence: Evidence) -> dict[str, Table]:
    """Tables by caption; each is left out where its data are missing."""
    tables: dict[str, Table] = {}
    first = table_one(evidence)
    if first is not None:
        tables["Table one: characteristics of the films"] = (first.headings, first.lines)
    metrics = evidence.metrics
    if "overall" in metrics:
        lines = [
            ["all classes", words, f"{metrics['n_images']:,}", interval(metrics["overall"][name])]
            for name, words in HEADLINES.items()
            if name in metrics["overall"]
        ]
        lines += [
            [label, words, f"{values['support']:,}", interval(values[name])]
            for label, values in metrics["per_class"].items()
            for name, words in PER_CLASS.items()
        ]
        level = f"{metrics['level']:.0%} interval by group"
        tables["Performance"] = (["class", "measure", "films", f"value ({level})"], lines)
        matrix = metrics["confusion_matrix"]["counts"]
        tables["Confusion: rows true, columns predicted"] = (
            ["true", *metrics["classes"]],
            [[name, *(f"{count:,}" for count in row)] for name, row in zip(metrics["classes"], matrix)],
        )
    by_source = accuracy_by_source(evidence)
    if by_source:
        tables["Right answers by class and source"] = (
            ["class", "source", "films", "right (95% interval by group)"],
            [
                [label, source, f"{films:,}", interval(one.to_dict())]
                for (label, source), (one, films) in by_source.items()
            ],
        )
    return tables


def _write_tables(out: Path, tables: Mapping[str, Table], formats: Sequence[str]) -> None:
    for caption, (headings, lines) in tables.items():
        name = caption.partition(":")[0].lower().replace(" ", "_")
        if "md" in formats:
            write_text(out / f"{name}.md", f"{caption}\n\n{markdown_table(headings, lines)}\n")
        if "csv" in formats:
            write_csv(
                out,
                name,
                [dict(zip([headings[0] or "characteristic", *headings[1:]], line)) for line in lines],
            )


def _write_checklists(
    out: Path, filled: Sequence[tuple[Checklist, Sequence[Answer]]], formats: Sequence[str]
) -> None:
    for checklist, answers in filled:
        rows = [_row(one) for one in answers]
        if "csv" in formats:
            write_csv(out / "checklists", checklist.key, rows)
        if "md" in formats:
            headings = list(rows[0])
            lines = [[cell.replace("|", "\\|") for cell in row.values()] for row in rows]
            counts = ", ".join(f"{count} {state}" for state, count in _states(answers).items())
            text = (
                f"# {checklist.name}\n\n{checklist.title} (`{checklist.reference}` in references.bib). "
                f"{checklist.scope}\n\n"
                f"{len(answers)} items: {counts}.\n\n{markdown_table(headings, lines)}\n"
            )
            write_text(out / "checklists" / f"{checklist.key}.md", text)


def _row(one: Answer) -> dict[str, str]:
    return {
        "item": one.item.number,
        "section": one.item.section,
        "what is asked": one.item.text,
        "state": one.state,
        "what is known": one.value,
        "file": one.file,
        "left to you": one.ask,
    }


def _overview(
    evidence: Evidence,
    facts: Mapping[str, Fact],
    filled: Sequence[tuple[Checklist, Sequence[Answer]]],
    paragraphs: Sequence[tuple[str, str]],
    tables: Mapping[str, Table],
    figures: Mapping[str, Path],
) -> str:
    states: list[dict[str, Any]] = [{"checklist": one.name, **_states(answers)} for one, answers in filled]
    columns = [FILLED, NEEDS_YOU, "does not apply"]
    lines = [
        f"# {evidence.card.name}: material for a paper",
        "",
        f"**{NOTICE}**",
        "",
        "Every sentence and figure is from a file of the run, named in [facts.json](facts.json). Nothing "
        "is made up: what the",
        "files do not say is left to you. The words are raw material, the claims are yours.",
        "",
        "## Checklists",
        "",
        markdown_table(
            ["checklist", *columns],
            [
                [
                    f"[{row['checklist']}](checklists/{one.key}.md)",
                    *(str(row.get(name, 0)) for name in columns),
                ]
                for row, (one, _) in zip(states, filled)
            ],
        ),
        "",
    ]
    if evidence.notes:
        lines += ["## Not used", "", *(f"- {note}" for note in evidence.notes), ""]
    lines += ["## Methods", ""]
    for heading, text in paragraphs:
        lines += [f"**{heading}.** {text}", ""]
    lines += ["## Tables", ""]
    for caption, (headings, rows) in tables.items():
        lines += [caption, "", markdown_table(headings, rows), ""]
    lines += ["## Figures", "", "PNG of 300 dots an inch, and PDF.", ""]
    for name in figures:
        lines += [f"![{CAPTIONS[name]}](figures/{name}.png)", "", f"*{CAPTIONS[name]}*", ""]
    more = ["[model card](model_card.md)", "[datasheet](datasheet.md)", "[references.bib](references.bib)"]
    if evidence.dataset is not None:
        more.append("[croissant.json](croissant.json) with [films.csv](films.csv)")
    lines += ["## Besides", "", ", ".join(more) + "."]
    return "\n".join(lines) + "\n"
