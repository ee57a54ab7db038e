"""What stands in the folders of runs: cards, splits, histories and results, told apart by what they hold."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.cards import Card
from lungcls.data.dataset import Dataset
from lungcls.data.splits import Split, split_dataset
from lungcls.errors import DataError, OptionError, WeightsError
from lungcls.reports.curves import read_history
from lungcls.study.answers import Answers
from lungcls.weights import find_weights, load_card, released

_LARGEST = 64 << 20
"""Bytes of a JSON file that is looked into; the tables of predictions may be larger and are not read."""


@dataclass(frozen=True)
class Found:
    """Content of a file.

    Attributes
    ----------
    content : object
        Of a JSON file, parsed; a Card; a Split; the rows of a table.
    path : Path
        As the user would name it.
    """

    content: Any
    path: Path


@dataclass(frozen=True)
class Evidence:
    """All that a paper can be filled from; None or empty where no file holds it.

    Attributes
    ----------
    classifier : Found
        Card of the network that the paper is about.
    stages : dict of str to Found
        Cards of all other weights behind the figures (the segmenter, the gate, ancestors), by name.
    recipe, split, history : Found or None
        Of the run that trained it.
    redrawn : bool
        Whether the library, asked again, draws the same split from the dataset and the seed of the card.
    evaluation : Found or None
        Payload of ``lungcls evaluate`` on the part that judges it.
    answers : Found or None
        Rows of the evaluation's table of answers, those of the classifier.
    external : tuple of Found
        Payloads of evaluations on other datasets.
    shortcuts, ablation : Found or None
    dataset : Dataset or None
        The films, where ``--data`` names them.
    notes : tuple of str
        What was found and not used, and why.
    """

    classifier: Found
    stages: dict[str, Found] = field(default_factory=dict)
    recipe: Found | None = None
    split: Found | None = None
    redrawn: bool = False
    history: Found | None = None
    evaluation: Found | None = None
    answers: Found | None = None
    external: tuple[Found, ...] = ()
    shortcuts: Found | None = None
    ablation: Found | None = None
    dataset: Dataset | None = None
    notes: tuple[str, ...] = ()

    @property
    def card(self) -> Card:
        """Card of the classifier."""
        card: Card = self.classifier.content
        return card

    @property
    def metrics(self) -> dict[str, Any]:
        """What the evaluation measured of the classifier; empty without an evaluation."""
        reports = self.evaluation.content["reports"] if self.evaluation else {}
        return dict(reports.get(self.card.name, {}))

    @cached_property
    def judged(self) -> Answers | None:
        """What the classifier said of the evaluation's films, read from the table of answers."""
        if self.answers is None:
            return None
        rows, classes = self.answers.content, self.card.classes
        return Answers(
            name=self.card.name,
            classes=classes,
            files=tuple(row["file"] for row in rows),
            groups=tuple(row["group"] for row in rows),
            labels=np.asarray([classes.index(row["label"]) for row in rows], np.int64),
            logits=np.asarray([[float(row[f"logit_{name}"]) for name in classes] for row in rows]),
            temperature=self.card.temperature,
        )

    @property
    def sources(self) -> list[str]:
        """Source of each film of :attr:`judged`; empty texts where it is not known."""
        return [row.get("source", "") for row in self.answers.content] if self.answers else []


def gather(
    runs: Sequence[str | Path], *, model: str | None = None, dataset: Dataset | None = None
) -> Evidence:
    """Find what runs hold.

    Parameters
    ----------
    runs : sequence of str or path-like
        Folders of ``lungcls train``, ``evaluate``, ``shortcuts`` and ``ablate``, their JSON files, weight
        files, or released names. Folders are looked through with those just below them.
    model : str, optional
        Name of the classifier, where there are several.
    dataset : Dataset, optional

    Returns
    -------
    Evidence

    Raises
    ------
    DataError
        If nothing is there, or a file of a run cannot be read.
    OptionError
        If it is not clear which classifier the paper is about.
    """
    files = list(dict.fromkeys(path for run in runs for path in _files(run)))
    cards, results, recipes = _read(files)
    evaluations = [one for one in results if _is_evaluation(one.content)]
    classifier = _classifier(cards, evaluations, model)
    card: Card = classifier.content
    judging, external, notes = _judging(evaluations, card)
    recipe = next((one for one in recipes if one.content["recipe"]["name"] == card.recipe.get("name")), None)
    if recipe is not None and recipe.content.get("split_hash") != card.training_data.get("split_hash"):
        recipe = None
    split = _split(files, card)
    drawn = _drawn_anew(dataset, card)
    return Evidence(
        classifier=classifier,
        stages=_stages(card, cards, judging),
        recipe=recipe,
        split=split or drawn,
        redrawn=drawn is not None,
        history=_history(recipe or classifier),
        evaluation=judging,
        answers=_answers(judging, card),
        external=tuple(external),
        shortcuts=_of_model(results, card),
        ablation=next((one for one in results if {"arms", "figures"} <= one.content.keys()), None),
        dataset=dataset,
        notes=tuple(notes),
    )


def _files(run: str | Path) -> Iterator[Path]:
    path = Path(run)
    if path.is_dir():
        yield from sorted(one for one in path.iterdir() if one.is_file())
        for folder in sorted(one for one in path.iterdir() if one.is_dir()):
            yield from sorted(one for one in folder.iterdir() if one.is_file())
    elif path.is_file() and path.suffix == ".json":
        yield path
        yield from (one for one in (path.with_suffix(".csv"), path.parent / "split.csv") if one.is_file())
    elif path.is_file() and path.suffix == ".csv":
        yield path
    else:
        try:
            weights = find_weights(run)
        except WeightsError as error:
            raise DataError(
                f"{run}: no folder, no result and no weights; expected a folder of `lungcls train` or "
                "`lungcls evaluate`, a JSON file of one, or a name that `lungcls info` lists"
            ) from error
        yield weights.with_suffix(".json")
        yield from (one for one in _siblings(weights) if one.is_file())


def _siblings(weights: Path) -> list[Path]:
    return [weights.parent / name for name in ("recipe.json", "split.csv", "history.csv")]


def _read(files: Iterable[Path]) -> tuple[dict[str, Found], list[Found], list[Found]]:
    """Cards by name, results and recipes among some files; what is none of them is left alone."""
    cards: dict[str, Found] = {}
    results, recipes = [], []
    for path in files:
        if path.suffix != ".json" or path.stat().st_size > _LARGEST:
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not readable as JSON ({error})") from error
        if not isinstance(content, dict):
            continue
        if {"architecture", "sha256"} <= content.keys():
            cards.setdefault(content["name"], Found(load_card(path.with_suffix(".safetensors")), path))
        elif path.name == "recipe.json" and "recipe" in content:
            recipes.append(Found(content, path))
        else:
            results.append(Found(content, path))
    return cards, results, recipes


def _is_evaluation(content: dict[str, Any]) -> bool:
    return {"reports", "part", "dataset", "images"} <= content.keys()


def _classifier(cards: dict[str, Found], evaluations: Sequence[Found], model: str | None) -> Found:
    named = {name: one for name, one in cards.items() if one.content.task == "classification"}
    for one in evaluations:
        for name in one.content["reports"]:
            if name not in named and name in released():
                card = load_card(name)
                if card.task == "classification" and one.content["weights"].get(name) == card.sha256:
                    named[name] = Found(card, find_weights(name).with_suffix(".json"))
    if model is not None and model not in named:
        raise OptionError(f"--model is {model!r}; the runs hold {', '.join(named) or 'no classifier'}")
    if not named:
        raise DataError(
            "the runs hold no card of a classifier; give the folder of `lungcls train`, or the weight "
            "file, too"
        )
    if model is None and len(named) > 1:
        # The one that was given as weights counts before those that an evaluation names besides.
        names = [name for name, one in cards.items() if one.content.task == "classification"]
        if len(names) != 1:
            raise OptionError(f"the runs hold several classifiers: say --model {'|'.join(named)}")
        model = names[0]
    return named[model or next(iter(named))]


def _judging(evaluations: Sequence[Found], card: Card) -> tuple[Found | None, list[Found], list[str]]:
    """The evaluation that judges a classifier, those on other datasets, and what was wrong with others."""
    of_model = [one for one in evaluations if card.name in one.content["reports"]]
    notes = []
    usable = []
    for one in of_model:
        if one.content["weights"].get(card.name) == card.sha256:
            usable.append(one)
        else:
            notes.append(f"{one.path} is of other weights named {card.name}: it is not used")
    split = card.training_data.get("split_hash")
    inside = [one for one in usable if one.content.get("split_hash") == split]
    inside.sort(key=lambda one: one.content["part"] != "test")
    judging = inside[0] if inside else None
    others = [one for one in usable if one.content.get("split_hash") != split]
    # On the training database, all that is not of the split may have been trained on.
    titles = {card.training_data.get("dataset")} | ({judging.content["dataset"]} if judging else set())
    external = [one for one in others if one.content["dataset"] not in titles]
    notes += [
        f"{one.path} is of the training dataset by another split, or without one: it is not used"
        for one in others
        if one.content["dataset"] in titles
    ]
    return judging, external, notes


def _stages(card: Card, cards: dict[str, Found], judging: Found | None) -> dict[str, Found]:
    """Cards of the other weights behind the figures, where they are here and are those."""
    wanted = dict(judging.content.get("weights", {})) if judging else {}
    stages = {}
    for name, digest in wanted.items():
        if name in cards:
            one = cards[name]
        elif name in released():
            one = Found(load_card(name), find_weights(name).with_suffix(".json"))
        else:
            continue
        if one.content.sha256 == digest and one.content.task != "classification":
            stages[name] = one
    return stages


def _split(files: Iterable[Path], card: Card) -> Found | None:
    for path in files:
        if path.suffix == ".csv" and _is_split(path):
            split = Split.read_csv(path)
            if split.hash == card.training_data.get("split_hash"):
                return Found(split, path)
    return None


def _drawn_anew(dataset: Dataset | None, card: Card) -> Found | None:
    """The split that the library draws for the card's seed, where it is the one of the card.

    Only of datasets that know their groups: near duplicates are not looked for here.
    """
    seed, digest = card.training_data.get("split_seed"), card.training_data.get("split_hash")
    if dataset is None or not dataset.grouped or not isinstance(seed, int):
        return None
    try:
        split = split_dataset(dataset, seed=seed)
    except DataError:  # too few films for one
        return None
    return (
        Found(split, Path(f"{dataset.title}, drawn anew with seed {seed}")) if split.hash == digest else None
    )


def _is_split(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"# lungcls split "


def _history(one: Found) -> Found | None:
    path = one.path.parent / "history.csv"
    return Found(read_history(path), path) if path.is_file() else None


def _answers(judging: Found | None, card: Card) -> Found | None:
    if judging is None:
        return None
    path = judging.path.with_name(f"{judging.path.stem}_answers.csv")
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("model") == card.name]
    needed = {"file", "group", "label", *(f"logit_{name}" for name in card.classes)}
    if rows and needed <= rows[0].keys() and {row["label"] for row in rows} <= set(card.classes):
        return Found(rows, path)
    return None


def _of_model(results: Iterable[Found], card: Card) -> Found | None:
    """The record of the shortcut checks on these weights."""
    for one in results:
        models = one.content.get("models", [one.content] if "verdicts" in one.content else [])
        if not isinstance(models, list):
            continue
        for content in models:
            if isinstance(content, dict) and "verdicts" in content and content.get("weights") == card.sha256:
                return Found(content, one.path)
    return None
