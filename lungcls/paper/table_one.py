"""Table one: the films of each part, by class, source, age, sex and view, as far as these are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungcls.data.dataset import Record
from lungcls.paper.characteristics import Characteristics, characteristics
from lungcls.paper.evidence import Evidence
from lungcls.study.study import groups_of

UNKNOWN = "not known"
_ALL = "all"


@dataclass(frozen=True)
class TableOne:
    """The table, ready to be written.

    Attributes
    ----------
    headings : list of str
        ``""`` and the parts.
    lines : list of list of str
        A name and a cell a part.
    files : str
        Where it is from.
    known : dict of str to int
        Films whose age, sex, view and patient are known, by these names.
    films : int
    """

    headings: list[str]
    lines: list[list[str]]
    files: str
    known: dict[str, int]
    films: int


def table_one(evidence: Evidence) -> TableOne | None:
    """Count the films of each part.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    TableOne or None
        From the dataset where there is one, by the parts of the run's split; else from the card and the
        evaluation, by class alone. None where neither holds counts.
    """
    if evidence.dataset is None:
        return _of_card(evidence)
    by_film, place = characteristics(evidence.dataset)
    split = evidence.split.content if evidence.split else None
    records = evidence.dataset.records
    parts: dict[str, list[Record]] = {}
    if split is not None:
        for part in ("train", "validation", "test"):
            parts[part] = [record for record in records if split.parts.get(record.file) == part]
        parts = {part: chosen for part, chosen in parts.items() if chosen}
    parts[_ALL] = list(records)
    columns = list(parts.values())
    lines = [
        ["films", *(f"{len(chosen):,}" for chosen in columns)],
        [
            "groups that were kept together",
            *(_distinct(groups_of(chosen, split)) for chosen in columns),
        ],
        ["patients known", *(_distinct([r.patient for r in chosen]) for chosen in columns)],
        [
            "films with a lung mask",
            *(_share(sum(bool(r.mask) for r in chosen), len(chosen)) for chosen in columns),
        ],
    ]
    if evidence.dataset.classes:
        lines += _counts("class", [[r.label for r in chosen] for chosen in columns])
    lines += _counts("source", [[r.source for r in chosen] for chosen in columns])
    people = [[by_film.get(r.file, Characteristics()) for r in chosen] for chosen in columns]
    lines += _ages(people)
    lines += _counts("sex", [[one.sex for one in chosen] for chosen in people])
    lines += _counts("view", [[one.view for one in chosen] for chosen in people])
    everybody = people[-1]
    files = [evidence.dataset.title, *([f"({place})"] if place else [])]
    return TableOne(
        ["", *parts],
        lines,
        " ".join(files) + (f"; {evidence.split.path}" if evidence.split else ""),
        {
            "age": sum(one.age is not None for one in everybody),
            "sex": sum(bool(one.sex) for one in everybody),
            "view": sum(bool(one.view) for one in everybody),
            "patient": sum(bool(record.patient) for record in records),
        },
        len(records),
    )


def _of_card(evidence: Evidence) -> TableOne | None:
    parts = dict(evidence.card.training_data.get("images", {}))
    files = [str(evidence.classifier.path)]
    matrix = evidence.metrics.get("confusion_matrix")
    if matrix and evidence.evaluation:
        part = evidence.evaluation.content["part"]
        parts[part] = dict(zip(evidence.metrics["classes"], map(sum, matrix["counts"])))
        files.append(str(evidence.evaluation.path))
    if not parts:
        return None
    names = list(dict.fromkeys(name for counts in parts.values() for name in counts))
    lines = [["films", *(f"{sum(counts.values()):,}" for counts in parts.values())]]
    lines += [
        [f"class {name}", *(_share(counts.get(name, 0), sum(counts.values())) for counts in parts.values())]
        for name in names
    ]
    films = sum(sum(counts.values()) for counts in parts.values())
    return TableOne(["", *parts], lines, "; ".join(files), {}, films)


def _counts(what: str, columns: Sequence[Sequence[str]]) -> list[list[str]]:
    """A line a value, the most frequent first; one line where no value is known."""
    total = Counter(columns[-1])
    if set(total) <= {""}:
        return [[what, *(UNKNOWN for _ in columns)]]
    values = [value for value, _ in total.most_common() if value]
    lines = [
        [f"{what} {value}", *(_share(Counter(column)[value], len(column)) for column in columns)]
        for value in values[:12]
    ]
    if len(values) > 12:
        rest = set(values[12:])
        lines.append(
            [
                f"{what}, {len(rest)} others",
                *(_share(sum(value in rest for value in column), len(column)) for column in columns),
            ]
        )
    if total[""]:
        lines.append([f"{what} {UNKNOWN}", *(_share(Counter(column)[""], len(column)) for column in columns)])
    return lines


def _ages(columns: Sequence[Sequence[Characteristics]]) -> list[list[str]]:
    by_column = [[one.age for one in column if one.age is not None] for column in columns]
    if not by_column[-1]:
        return [["age", *(UNKNOWN for _ in columns)]]
    lines = [["age in years, median (quartiles)", *(_quartiles(ages) for ages in by_column)]]
    missing = [len(column) - len(ages) for column, ages in zip(columns, by_column)]
    if missing[-1]:
        lines.append([f"age {UNKNOWN}", *(_share(n, len(c)) for n, c in zip(missing, columns))])
    return lines


def _quartiles(ages: Sequence[float]) -> str:
    if not ages:
        return "-"
    low, middle, high = np.percentile(ages, [25, 50, 75])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def _distinct(values: Sequence[str]) -> str:
    distinct = {value for value in values if value}
    return f"{len(distinct):,}" if distinct else UNKNOWN


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.1%})" if of else "0"
