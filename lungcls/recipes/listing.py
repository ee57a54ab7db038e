"""The recipes that come with the package, in groups and in order, to be listed."""

from __future__ import annotations

from dataclasses import dataclass

from lungcls.errors import LungclsError
from lungcls.recipes.checks import GROUPS
from lungcls.recipes.recipe import load_recipe, recipe_names
from lungcls.weights import load_card, released


@dataclass(frozen=True, slots=True)
class RecipeEntry:
    """One line of a list of recipes.

    Attributes
    ----------
    name : str
        As :func:`lungcls.recipes.load_recipe` takes it.
    group, task, model, region : str
        The region is empty for a segmenter.
    size : int
        Of the finished weights, in pixels.
    time : str
        How long it takes, and on what.
    result : str
        The headline figure on the validation part of the released weights that it made; empty for others.
    description : str
    """

    name: str
    group: str
    task: str
    model: str
    region: str
    size: int
    time: str
    result: str
    description: str


def grouped_recipes() -> dict[str, list[RecipeEntry]]:
    """Return the packaged recipes by group, groups in the order of :data:`GROUPS`, stage 1 before stage 2."""
    entries = [_entry(name) for name in recipe_names()]
    entries.sort(key=lambda one: (one.task != "segmentation", one.name))
    return {group: [one for one in entries if one.group == group] for group in GROUPS}


def _entry(name: str) -> RecipeEntry:
    recipe = load_recipe(name)
    return RecipeEntry(
        name,
        recipe.group,
        recipe.task,
        str(recipe.model["model"]),
        recipe.region.name if recipe.region else "",
        recipe.input_size,
        recipe.time,
        _result(recipe.name) if recipe.group == "released on a CPU" else "",
        " ".join(recipe.description.split()),
    )


def _result(name: str) -> str:
    if name not in released():
        return ""
    try:
        card = load_card(name)
    except LungclsError:  # damaged weights have no figures
        return ""
    overall = card.metrics.get("validation", {}).get("overall", {})
    for key, said in (("macro_f1", "macro-F1"), ("dice_mean", "mean Dice")):
        if key in overall:
            return f"validation {said} {overall[key]['value']:.3f}"
    return ""
