"""What a release measures: both stages on the test part, and on collections that nobody trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split
from lungcls.errors import DataError
from lungcls.evaluation.reading import copies_of
from lungcls.evaluation.release import evaluate_release
from lungcls.evaluation.results import write_csv, write_results
from lungcls.finder import Finder
from lungcls.progress import Progress, quiet

_STEM: Final = "released_weights_"
_ANSWERS: Final = "_answers"


class Results(NamedTuple):
    """The files that :func:`write_release` writes.

    Attributes
    ----------
    test : str
        Name of the set whose test part was measured: the layout of the dataset that was trained on.
    payloads : dict
        What was measured, by set in alphabetical order, `test` among them.
    answers : Path
        The answers on the test part.
    """

    test: str
    payloads: dict[str, Any]
    answers: Path


def read_results(folder: str | Path) -> Results:
    """Read what :func:`write_release` wrote into a folder.

    Raises
    ------
    DataError
        If no file, or more than one, is of a test part.
    """
    payloads = {
        file.stem.removeprefix(_STEM): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(Path(folder).glob(f"{_STEM}*.json"))
    }
    tests = [name for name, payload in payloads.items() if payload["split_hash"]]
    if len(tests) != 1:
        raise DataError(
            f"{folder} holds results of {len(tests)} test parts ({', '.join(tests) or 'none'}); expected "
            "those of one. Take a folder with the results of one release"
        )
    return Results(tests[0], payloads, Path(folder) / f"{_STEM}{tests[0]}{_ANSWERS}.csv")


def write_release(
    database: Dataset,
    split: Split,
    finder: Finder,
    classifiers: Sequence[Classifier],
    external: Mapping[str, Dataset],
    results: str | Path,
    cache: str | Path,
    *,
    progress: Progress[Any] = quiet,
) -> None:
    """Evaluate both stages on the test part and on other collections, and write the files.

    Parameters
    ----------
    database : Dataset
    split : Split
        Of `database`.
    finder : Finder
    classifiers : sequence of Classifier
    external : mapping of str to Dataset
        Other collections, by names of their own, as :func:`lungcls.data.open_externals` makes them. Stage 1
        is evaluated on those with lung masks, stage 2 on those with classes, there without the near
        duplicates of images that were trained on or chosen by.
    results : path-like
        Folder of ``released_weights_<set>.json`` and ``.csv``, where the test part's set is named by the
        database's layout, and of ``released_weights_<layout>_answers.csv``. The model card is made of them.
    cache : path-like
        Folder for what the finder finds.
    progress : callable, optional

    Raises
    ------
    ImageError
        If an image cannot be read.
    DataError
        If a mask cannot be read, or nothing of a collection is new or of use (:func:`check_external`).
    ValueError
        If a collection has the name of the database's layout: it would overwrite the test part's results.
    """
    if database.layout in external:
        raise ValueError(f"a collection is named {database.layout!r}, as are the results of the test part")
    records = split.select(database.records, "test")
    found = evaluate_release(
        database, records, finder, classifiers, cache, split=split, part="test", progress=progress
    )
    write_results(results, f"{_STEM}{database.layout}", found.rows, found.payload)
    write_csv(results, f"{_STEM}{database.layout}{_ANSWERS}", found.answers)
    for name, dataset in external.items():
        measured = classifiers if has_classes(dataset, database.classes) else []
        records = dataset.records
        notes: list[str] = []
        if measured:
            records, notes = _not_learnt_from(dataset, database, split, progress)
        found = evaluate_release(dataset, records, finder, measured, cache, progress=progress)
        found.payload["notes"] += notes
        write_results(results, f"{_STEM}{name}", found.rows, found.payload)


def has_classes(dataset: Dataset, classes: Sequence[str]) -> bool:
    """Whether classifiers of some classes can be measured on a dataset: it has classes, all among them."""
    return bool(dataset.classes) and {record.label for record in dataset.records} <= set(classes)


def check_external(dataset: Dataset, classes: Sequence[str]) -> None:
    """Refuse a collection that no stage can be measured on.

    Parameters
    ----------
    dataset : Dataset
    classes : sequence of str
        Of the classifiers.

    Raises
    ------
    DataError
        If it has neither lung masks nor these classes.
    """
    if not (any(record.mask for record in dataset.records) or has_classes(dataset, classes)):
        raise DataError(
            f"{dataset.root} has no lung masks to evaluate the segmenter on, and its images are not of the "
            f"classes {', '.join(classes)} of the classifiers; leave it out"
        )


def _not_learnt_from(
    dataset: Dataset, database: Dataset, split: Split, progress: Progress[Any]
) -> tuple[list[Record], list[str]]:
    """A collection's images without copies of those that weights learnt from or were chosen by."""
    known = [record for part in ("train", "validation") for record in split.select(database.records, part)]
    copied = copies_of(dataset, dataset.records, database, known, progress=progress)
    left = [record for record, copy in zip(dataset.records, copied) if not copy]
    if not left:
        raise DataError(f"{dataset.root}: every image is a near duplicate of one that was trained on")
    note = (
        f"{int(copied.sum()):,} of {len(copied):,} images were left out as near duplicates of images of the "
        "training or the validation part"
    )
    return left, [note]
