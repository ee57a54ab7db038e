"""One folder, one piece of work: what stands in a folder is written down before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungcls.errors import RecipeError
from lungcls.files import write_json
from lungcls.recipes.recipe import recipe_from_dict


def claim(path: str | Path, what: str, **identity: Any) -> None:
    """Write down what a folder's work is, or check that it is the same work.

    Parameters
    ----------
    path : path-like
        Of the JSON file, in the folder.
    what : str
        The kind of work, such as ``a run``, for the error.
    **identity
        All that decides the result, JSON-safe. A ``recipe`` (as :meth:`lungcls.recipes.Recipe.to_dict` gives
        it) counts as the same under another description, and where an older lungcls wrote it without the keys
        that came since; so does all else that the file lacks.

    Raises
    ------
    RecipeError
        If the folder holds other work; it says in what the two differ.
    """
    path = Path(path)
    stated: dict[str, Any] = json.loads(json.dumps(identity))
    if not path.is_file():
        write_json(path, stated)
        return
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    differing = [key for key in stated if key in stored and not _same(key, stored[key], stated[key], path)]
    if differing:
        raise RecipeError(
            f"{path.parent} holds {what} with another {', '.join(differing).replace('_', ' ')} ({path.name} "
            "there says which); give another --out, or the same as then"
        )


def _same(key: str, stored: Any, stated: Any, path: Path) -> bool:
    if key != "recipe":
        return bool(stored == stated)
    recipes: list[Mapping[str, Any]] = [stored, stated]
    return recipe_from_dict(recipes[0], str(path)) == recipe_from_dict(recipes[1])
