"""What a search over a recipe may change, and the recipe with such changes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lungcls.errors import RecipeError
from lungcls.recipes.recipe import Recipe, recipe_from_dict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Space = dict[str, dict[str, Any]]
"""By key of the recipe (``model.dropout`` and ``stages.0.learning_rate`` reach inside): ``choices``, or
``low`` and
``high`` with ``log`` and, for whole numbers, ``step``."""

_KNOWN: Final = {"choices", "low", "high", "log", "step"}


def load_space(path: str | Path) -> Space:
    """Read a space from a TOML file with a table a key, such as ``[learning_rate]`` or ``["model.dropout"]``.

    Raises
    ------
    RecipeError
        If the file cannot be read or a table is no range.
    """
    try:
        space: Space = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: not readable as TOML ({error})") from error
    check_space(space, str(path))
    return space


def check_space(space: Mapping[str, Any], origin: str = "space") -> None:
    """Raise RecipeError unless every item is a range or a list of choices."""
    if not space:
        raise RecipeError(f"{origin}: nothing to search; give at least one key with choices or low and high")
    for key, item in space.items():
        keys = set(item) if isinstance(item, dict) else set()
        listed = keys == {"choices"} and bool(item["choices"])
        ranged = {"low", "high"} <= keys <= _KNOWN - {"choices"} and item["low"] <= item["high"]
        if not (listed or ranged):
            raise RecipeError(
                f"{origin}: {key} is {item!r}; expected {{choices = [...]}} or {{low = ..., high = ..., "
                "log = true or step = ... if wanted}"
            )


def default_space(recipe: Recipe) -> Space:
    """Return what is worth searching in a recipe where the user names nothing."""
    space: Space = {
        "weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
        "batch_size": {"choices": [16, 32, 64]},
    }
    if all(stage.learning_rate for stage in recipe.stages):
        for index in range(len(recipe.stages)):
            space[f"stages.{index}.learning_rate"] = {"low": 1e-6, "high": 1e-2, "log": True}
    else:
        space["learning_rate"] = {"low": 1e-5, "high": 1e-2, "log": True}
    if recipe.task == "classification":
        space["balance"] = {"choices": ["none", "class_weights", "sampler"]}
        if recipe.loss == "cross_entropy":
            space["label_smoothing"] = {"low": 0.0, "high": 0.2}
        if "dropout" in recipe.model:
            space["model.dropout"] = {"low": 0.0, "high": 0.6}
    return space


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Return a recipe with some values replaced.

    Parameters
    ----------
    recipe : Recipe
    values : mapping
        By key as in a :data:`Space`.

    Raises
    ------
    RecipeError
        If a key is not the recipe's or a value is impossible.
    """
    whole = recipe.to_dict()
    for key, value in values.items():
        target: Any = whole
        *path, last = key.split(".")
        try:
            for step in path:
                target = target[int(step)] if isinstance(target, (list, tuple)) else target[step]
            target[last] = value
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise RecipeError(f"the space names {key!r}, which the recipe {recipe.name} has not") from error
    return recipe_from_dict(whole, recipe.name)
