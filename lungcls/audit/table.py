"""Anybody's predictions as one table: what was said of each film, and what is known of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.data.csvfile import read_csv
from lungcls.data.splits import Split
from lungcls.errors import DataError
from lungcls.numeric import softmax
from lungcls.study.answers import Answers

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "file": ("file", "filename", "file_name", "image", "image_id", "image_index", "image_path", "path"),
    "label": ("label", "true_label", "truth", "true", "y_true", "target", "class", "finding", "diagnosis"),
    "patient": ("patient", "patient_id", "patientid", "subject", "subject_id"),
    "group": ("group", "cluster"),
    "part": ("part", "split", "subset"),
    "source": ("source", "site", "hospital", "institution", "centre", "center", "dataset"),
    "processing": ("processing",),
    "age": ("age", "patient_age", "age_years"),
    "sex": ("sex", "gender", "patient_sex", "patient_gender"),
    "view": ("view", "view_position", "viewposition", "projection"),
    "device": ("device", "manufacturer", "scanner", "manufacturer_model_name"),
}  # fmt: skip
"""Names under which a column is found, case, blanks and hyphens aside; the first that is there is taken."""

ATTRIBUTES: Final = ("age", "sex", "view", "source", "device", "processing")
"""Columns whose values make subgroups, where a manifest has them."""

_PREFIXES: Final = ("probability_", "proba_", "prob_", "p_")
_SCORES: Final = ("probability", "proba", "prob", "score", "y_score", "p")
_UNKNOWN: Final = frozenset({"", "nan", "none", "null", "unknown", "na", "n/a", "-"})
_AGES: Final = ((18, "under 18"), (40, "18 to 39"), (60, "40 to 59"), (80, "60 to 79"))
_OLDEST: Final = "80 and over"
_BANDS: Final = (*(name for _, name in _AGES), _OLDEST)
_SUM_TOLERANCE: Final = 5e-3


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """What one model said of some films.

    Attributes
    ----------
    answers : Answers
        Files, groups, labels and log-probabilities.
    columns : dict of str to list of str, length N
        What is known of the films, by :data:`ATTRIBUTES` and any column that was asked for besides; empty
        where it is not known. Ages are in bands.
    sets : dict of float to bool array [N, K]
        Sets of classes by the coverage that they were made for.
    manifest : list of dict
        ``file, label, patient, group, part`` of every film of the manifest, those without a prediction too.
    """

    answers: Answers
    columns: dict[str, list[str]]
    sets: dict[float, NDArray[np.bool_]] = field(default_factory=dict)
    manifest: list[dict[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.answers)

    def values(self, column: str) -> NDArray[np.str_]:
        """Return one column; all empty where it is not known."""
        return np.asarray(self.columns.get(column, [""] * len(self)), dtype=np.str_)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row a film, with what is known of it, as :func:`read_predictions` reads it."""
        known = {name: values for name, values in self.columns.items() if name not in self.answers.classes}
        return [
            {**row, **{name: values[i] for name, values in known.items()}}
            for i, row in enumerate(self.answers.to_rows())
        ]

    def with_split(self, split: Split) -> PredictionTable:
        """Return the same predictions, with parts and groups of a split of lungcls.

        Raises
        ------
        DataError
            If the split names none of the films.
        """
        if not set(self.answers.files) & set(split.parts):
            raise DataError(f"the split names none of the films, such as {self.answers.files[0]}")
        own = {row["file"]: row for row in self.manifest}
        empty = {"label": "", "patient": "", "group": ""}
        manifest = [
            {**own.get(file, empty), "file": file, "part": part, "group": split.groups.get(file, "")}
            for file, part in split.parts.items()
        ]
        groups = [
            split.groups.get(file) or group for file, group in zip(self.answers.files, self.answers.groups)
        ]
        return replace(self, answers=replace(self.answers, groups=tuple(groups)), manifest=manifest)

    def of_part(self, part: str) -> PredictionTable:
        """Return the films of one part, by the manifest.

        Raises
        ------
        DataError
            If none is of it.
        """
        parts = {row["file"]: row["part"] for row in self.manifest}
        chosen = np.asarray([parts.get(file, "") == part for file in self.answers.files])
        if not chosen.any():
            known = ", ".join(sorted(set(parts.values()) - {""})) or "none"
            raise DataError(
                f"no prediction is of a film of the part {part!r}; the manifest's parts are: {known}"
            )
        at = np.flatnonzero(chosen).tolist()
        return replace(
            self,
            answers=self.answers.of(chosen),
            columns={name: [values[i] for i in at] for name, values in self.columns.items()},
            sets={level: held[chosen] for level, held in self.sets.items()},
        )


def read_predictions(
    path: str | Path,
    manifest: str | Path | None = None,
    *,
    classes: Sequence[str] = (),
    model: str = "",
    by: Iterable[str] = (),
) -> PredictionTable:
    """Read predictions of any framework, and what a manifest says of their films.

    Parameters
    ----------
    path : path-like
        CSV with a column of files, and for each class a probability (``p_CLASS``, ``prob_CLASS``,
        ``probability_CLASS`` or ``CLASS``) or a logit (``logit_CLASS``); for two classes one column
        ``probability`` (or ``score``) of the second does. True classes stand here or in the manifest.
        Sets of classes as ``set_0.9``, separated by ``;``.
    manifest : path-like, optional
        CSV with a column of files, matched by path or, where that tells films apart, by file name; its
        columns are found under :data:`NAMES`.
    classes : sequence of str, optional
        In the order that tables shall have; needed where a class has a column and no film.
    model : str, optional
        Whose rows are taken where a column ``model`` names several.
    by : iterable of str, optional
        Further columns of the manifest to make subgroups of.

    Raises
    ------
    DataError
        If a file cannot be read, or a row or column is not what is said above; the message names it.
    """
    path = Path(path)
    lines = list(enumerate(read_csv(path, ()), start=2))
    if not lines:
        raise DataError(f"{path}: holds no prediction; expected one row a film")
    lines = _of_model(lines, model, path)
    rows = [row for _, row in lines]
    numbers = [number for number, _ in lines]
    files = [row[_column(rows[0], "file", path)] for row in rows]
    _refuse_repeated(files, numbers, path)
    known = _manifest(Path(manifest), by) if manifest else []
    facts = _joined(files, numbers, known, path, manifest) if manifest else [_facts(row, by) for row in rows]
    own_label = _column(rows[0], "label")
    labels = [row[own_label] for row in rows] if own_label else [fact["label"] for fact in facts]
    for number, label in zip(numbers, labels):
        if label.lower() in _UNKNOWN:
            place = "it" if own_label else "it and the manifest"
            raise DataError(f"{path}, line {number}: no true class in {place}; add a column 'label'")
    names = tuple(classes) or _classes(rows[0], labels)
    probabilities = _probabilities(rows, numbers, names, path)
    for number, label in zip(numbers, labels):
        if label not in names:
            raise DataError(
                f"{path}, line {number}: the class {label!r} has no column of probabilities; the classes are "
                f"{', '.join(names)} (name all with --classes)"
            )
    answers = Answers(
        name=model or rows[0].get("model") or path.stem,
        classes=names,
        files=tuple(files),
        groups=tuple(fact["group"] or fact["patient"] for fact in facts),
        labels=np.asarray([names.index(label) for label in labels], np.int64),
        logits=np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)),
    )
    wanted = [*ATTRIBUTES, *(name for name in by if name not in ATTRIBUTES)]
    columns = {name: [fact.get(name, "") for fact in facts] for name in wanted}
    columns = {name: values for name, values in columns.items() if any(values)}
    for name in by:
        if name not in columns:
            raise DataError(f"--by {name}: {manifest or path} has no such column, or it is empty")
    return PredictionTable(answers, columns, _sets(rows, numbers, names, path), known)


def facts_of(files: Sequence[str], manifest: str | Path, by: Iterable[str] = ()) -> list[dict[str, str]]:
    """Return what a manifest says of films, one mapping each; empty where it does not name a film.

    Raises
    ------
    DataError
        If the manifest cannot be read, or names none of them.
    """
    known = _lookup(_manifest(Path(manifest), by))
    found = [known(file) for file in files]
    if not any(found):
        raise DataError(f"{manifest}: names none of the films, such as {files[0]}; give both the same paths")
    return [fact or {} for fact in found]


def _lookup(known: list[dict[str, str]]) -> Callable[[str], dict[str, str] | None]:
    """Find films by path, or by file name where only one film has it."""
    by_file = {fact["file"]: fact for fact in known}
    counts = Counter(PurePosixPath(fact["file"]).name for fact in known)
    by_name = {PurePosixPath(fact["file"]).name: fact for fact in known}

    def find(file: str) -> dict[str, str] | None:
        name = PurePosixPath(file.replace("\\", "/")).name
        return by_file.get(file) or (by_name.get(name) if counts[name] == 1 else None)

    return find


def _key(name: str) -> str:
    return re.sub(r"[\s\-']+", "_", name.strip().lower())


def _column(row: Mapping[str, str], wanted: str, path: Path | None = None) -> str:
    """The column that is meant; with a path, DataError where there is none."""
    found = {_key(name): name for name in reversed(list(row))}
    for name in NAMES[wanted]:
        if name in found:
            return found[name]
    if path is not None:
        raise DataError(
            f"{path}: no column {wanted!r} (or {', '.join(NAMES[wanted][1:])}); it has {list(row)}"
        )
    return ""


def _of_model(
    lines: list[tuple[int, dict[str, str]]], model: str, path: Path
) -> list[tuple[int, dict[str, str]]]:
    there = list(dict.fromkeys(row.get("model", "") for _, row in lines))
    if model and model not in there:
        raise DataError(
            f"{path}: no row of the model {model!r}; it has {', '.join(filter(None, there)) or 'none'}"
        )
    if not model and len(there) > 1:
        raise DataError(f"{path}: answers of {', '.join(there)}; choose one with --model")
    return [(number, row) for number, row in lines if not model or row["model"] == model]


def _refuse_repeated(files: Sequence[str], numbers: Sequence[int], path: Path) -> None:
    seen: dict[str, int] = {}
    for number, file in zip(numbers, files):
        if not file:
            raise DataError(f"{path}, line {number}: no file is named")
        if file in seen:
            raise DataError(
                f"{path}, line {number}: {file} is answered a second time (first in line {seen[file]}); "
                "keep one row a film"
            )
        seen[file] = number


def _facts(row: Mapping[str, str], by: Iterable[str]) -> dict[str, str]:
    facts = {}
    for name in NAMES:
        column = _column(row, name)
        value = row[column] if column else ""
        facts[name] = "" if value.lower() in _UNKNOWN else value
    facts["age"] = _age_band(facts["age"])
    for name in by:
        facts.setdefault(name, row.get(name, ""))
    return facts


def _age_band(text: str) -> str:
    """DICOM writes 045Y; manifests 45 or 45.0; our own tables the band."""
    if text in _BANDS:
        return text
    found = re.fullmatch(r"0*(\d+(?:\.\d+)?)\s*([YyMmWwDd]?)", text.strip())
    if found is None:
        return ""
    years = float(found[1]) if found[2].lower() in ("", "y") else 0.0
    return next((name for end, name in _AGES if years < end), _OLDEST)


def _manifest(path: Path, by: Iterable[str]) -> list[dict[str, str]]:
    rows = read_csv(path, ())
    if not rows:
        raise DataError(f"{path}: holds no film; expected one row a film")
    _column(rows[0], "file", path)
    return [_facts(row, by) for row in rows]


def _joined(
    files: Sequence[str],
    numbers: Sequence[int],
    known: list[dict[str, str]],
    path: Path,
    manifest: str | Path | None,
) -> list[dict[str, str]]:
    find = _lookup(known)
    facts = []
    for number, file in zip(numbers, files):
        fact = find(file)
        if fact is None:
            raise DataError(
                f"{path}, line {number}: {file}: {manifest} does not name it, or names several of that name; "
                "give both the same paths"
            )
        facts.append(fact)
    return facts


def _classes(row: Mapping[str, str], labels: Sequence[str]) -> tuple[str, ...]:
    for prefix in (*_PREFIXES, "logit_"):
        found = [name[len(prefix) :] for name in row if name.startswith(prefix)]
        if len(found) > 1:
            return tuple(found)
    return tuple(sorted(set(labels)))


def _probabilities(
    rows: Sequence[Mapping[str, str]], numbers: Sequence[int], classes: tuple[str, ...], path: Path
) -> NDArray[np.float64]:
    if len(classes) < 2:
        raise DataError(f"{path}: only the class {', '.join(classes)}; expected at least two (--classes A,B)")
    for prefix in (*_PREFIXES, "", "logit_"):
        names = [prefix + name for name in classes]
        if all(name in rows[0] for name in names):
            values = _numbers(rows, numbers, names, path)
            return softmax(values) if prefix == "logit_" else _checked(values, numbers, names, path)
    single = next((name for name in _SCORES if name in rows[0]), None)
    if single and len(classes) == 2:
        second = _numbers(rows, numbers, [single], path)[:, 0]
        return _checked(np.stack([1 - second, second], axis=1), numbers, [single, single], path)
    missing = [name for name in classes if name not in rows[0]]
    raise DataError(
        f"{path}: no probability of {', '.join(missing)}; expected a column p_CLASS, CLASS or logit_CLASS "
        f"for each of {', '.join(classes)}, and it has {', '.join(rows[0])}"
    )


def _numbers(
    rows: Sequence[Mapping[str, str]], numbers: Sequence[int], names: Sequence[str], path: Path
) -> NDArray[np.float64]:
    values = np.empty((len(rows), len(names)))
    for place, (number, row) in enumerate(zip(numbers, rows)):
        for k, name in enumerate(names):
            try:
                values[place, k] = float(row[name])
            except ValueError as error:
                raise DataError(
                    f"{path}, line {number}, column {name}: {row[name]!r} is no number"
                ) from error
            if not np.isfinite(values[place, k]):
                raise DataError(f"{path}, line {number}, column {name}: {row[name]} is not finite")
    return values


def _checked(
    values: NDArray[np.float64], numbers: Sequence[int], names: Sequence[str], path: Path
) -> NDArray[np.float64]:
    outside = np.argwhere((values < 0) | (values > 1))
    if len(outside):
        row, k = outside[0]
        raise DataError(
            f"{path}, line {numbers[row]}, column {names[k]}: {values[row, k]:g} is no probability; "
            "name logits logit_CLASS"
        )
    sums = values.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > _SUM_TOLERANCE)
    if len(off):
        raise DataError(
            f"{path}, line {numbers[off[0]]}: the probabilities sum to {sums[off[0]]:.3f}, expected 1; "
            "findings that may come together are audited one at a time, each with the columns p_yes and p_no"
        )
    scaled: NDArray[np.float64] = values / sums[:, None]
    return scaled


def _sets(
    rows: Sequence[Mapping[str, str]], numbers: Sequence[int], classes: tuple[str, ...], path: Path
) -> dict[float, NDArray[np.bool_]]:
    found = {}
    for name in rows[0]:
        match = re.fullmatch(r"(?:conformal_)?set(?:_(0?\.\d+))?", name)
        if match is None:
            continue
        held = np.zeros((len(rows), len(classes)), np.bool_)
        for place, (number, row) in enumerate(zip(numbers, rows)):
            for member in filter(None, (one.strip() for one in re.split(r"[;|]", row[name]))):
                if member not in classes:
                    raise DataError(
                        f"{path}, line {number}, column {name}: {member!r} is none of the classes"
                    )
                held[place, classes.index(member)] = True
        found[float(match[1] or 0.9)] = held
    return found
