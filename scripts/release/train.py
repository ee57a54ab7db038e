"""All released weights in one go: the segmenter first, then the classifiers that its masks cut for."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset
from lungcls.data.splits import PARTS, Split, crossing, split_dataset
from lungcls.errors import OptionError
from lungcls.finder import Finder
from lungcls.gate.screening import Gate
from lungcls.recipes import load_recipe
from lungcls.render.drawing import require_matplotlib
from lungcls.study.context import RunContext
from lungcls.training.train import train
from release.card import write_model_card
from release.measure import check_external, write_release

STEPS: Final = ("segmenter", "classifier-full", "classifier-crop", "classifier-mask")
"""In this order: the regions of later steps are cut with the first one's masks, and `crop` and `mask` start
from the features of `full`."""

SCHEDULES: Final = {"gpu": "release", "cpu": "release-cpu"}
"""Folder of the recipes of each schedule, in ``lungcls/recipes``."""


def train_release(
    database: Dataset,
    out: str | Path,
    *,
    schedule: str = "gpu",
    split: Split | None = None,
    external: Mapping[str, Dataset] | None = None,
    gate: str | Path | Gate | None = "gate",
    epochs: int | None = None,
    context: RunContext | None = None,
) -> Path:
    """Train, evaluate and describe all released weights, or go on where a killed call stopped.

    Parameters
    ----------
    database : Dataset
        With lung masks, in any layout and of any classes.
    out : path-like
        Gets a run's folder a step, ``cache/`` with predicted masks, ``results/`` with the figures on the test
        part and ``weights/`` with what is to be released: weights, cards and the model card.
    schedule : {"gpu", "cpu"}, default="gpu"
    split : Split, optional
        Of `database`: its parts are trained, calibrated and evaluated on. By default
        :func:`lungcls.data.split_dataset` with the ``split_seed`` of the recipes.
    external : mapping of str to Dataset, optional
        Other collections, by name: the segmenter is evaluated on those with lung masks, the classifiers on
        those with their classes.
    gate : str, path-like, Gate or None
        That judges and corrects the films; None for none.
    epochs : int, optional
        Cut every stage of every schedule to so many epochs, for a trial.
    context : RunContext, optional
        Where and how to run; its cache is ``out/cache``.

    Returns
    -------
    Path
        ``out/weights``.

    Raises
    ------
    ValueError
        If the schedule is unknown.
    RecipeError
        If a step's folder holds a run of another recipe or split.
    DataError
        If a set in `external` has neither lung masks nor the database's classes, or the database has no
        image in a part of the split.
    MissingExtraError
        If matplotlib, which draws the model card's pictures, is not installed.
    """
    if schedule not in SCHEDULES:
        raise OptionError(f"unknown schedule {schedule!r}; known are {', '.join(SCHEDULES)}")
    out = Path(out)
    context = replace(context or RunContext(), cache=out / "cache")
    # Told before hours of training, not after.
    require_matplotlib()
    for dataset in (external or {}).values():
        check_external(dataset, database.classes)
    split = split or split_dataset(database, seed=load_recipe(f"{SCHEDULES[schedule]}/{STEPS[0]}").split_seed)
    for part in PARTS:
        split.select(database.records, part)
    made: dict[str, Path] = {}
    for step in STEPS:
        recipe = load_recipe(f"{SCHEDULES[schedule]}/{step}")
        if "classes" in recipe.model:
            recipe = replace(recipe, model={**recipe.model, "classes": len(database.classes)})
        made[recipe.name] = train(
            recipe if epochs is None else recipe.cut(epochs),
            database,
            out / step,
            split=split,
            earlier=made,
            gate=gate,
            context=context,
        )
    write_release(
        database,
        split,
        Finder.load(made[STEPS[0]], gate, context.device),
        [Classifier.load(made[step], context.device) for step in STEPS[1:]],
        external or {},
        out / "results",
        out / "cache",
        progress=context.progress,
    )
    return _collect(made, out, split)


def _collect(made: Mapping[str, Path], out: Path, split: Split) -> Path:
    """Copy what is to be released into one folder, with its model card."""
    weights = out / "weights"
    weights.mkdir(exist_ok=True)
    for path in made.values():
        for file in (path, path.with_suffix(".json")):
            shutil.copyfile(file, weights / file.name)
    write_model_card(weights, out / "results", about=_about(split))
    return weights


def _about(split: Split) -> str:
    """What the model card says of a split, whoever made it."""
    torn = len(crossing(split))
    return (
        f"Groups of the split (near duplicates, images of a known patient) in more than one part: {torn:,}.\n"
        "Copies of which an edge was cut off are sure to share a group only in a split of\n"
        "`lungcls data split --cropped-copies`."
    )
