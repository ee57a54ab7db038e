"""A training run as one TOML file, checked when it is read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from lungcls.errors import RecipeError
from lungcls.regions import Region

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOSSES: Final = {"segmentation": ("dice_bce",), "classification": ("cross_entropy",)}
BALANCES: Final = ("class_weights", "sampler", "none")

# Of the plain values, by the annotation of their field.
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "dict[str, Any]": (dict,),
}


@dataclass(frozen=True)
class Stage:
    """One part of the schedule: so many epochs at one input size."""

    size: int
    epochs: int


@dataclass(frozen=True)
class Recipe:
    """All that decides a training run but the data folder and the machine.

    Attributes
    ----------
    name : str
        Of the weights that it makes.
    task : {"segmentation", "classification"}
    model : dict
        As :func:`lungcls.models.create_model` takes it.
    stages : tuple of Stage
        Run in turn under one learning-rate schedule (progressive resizing).
    input_size : int
        Of the finished weights: the size of the views that they are evaluated and used at.
    region : Region or None
        What a classifier sees; None for a segmenter.
    loss : {"dice_bce", "cross_entropy"}
    augmentation : str
        A name of :mod:`lungcls.data.augmentation`.
    learning_rate, weight_decay : float
        Of AdamW; the rate rises over the first `warmup` of all steps and falls to 0 as a cosine.
    batch_size : int
        A process; several devices multiply it.
    balance : {"class_weights", "sampler", "none"}
        How a classifier meets unequal classes.
    label_smoothing : float
    ema_decay : float
        Of the exponential moving average of the weights that is validated and kept; 0 turns it off.
    patience : int
        Epochs without a better validation score after which training stops; 0 turns it off.
    init : str
        Weights to start from (a released name or a path); empty starts from scratch.
    segmenter : str
        Whose predicted masks a classifier's regions are cut with.
    split_seed, seed : int
        Of the split, and of everything else.
    mean, std : float
        The network sees ``(pixel - mean) / std``.
    """

    name: str
    task: str
    model: dict[str, Any]
    stages: tuple[Stage, ...]
    input_size: int
    loss: str
    augmentation: str
    region: Region | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    batch_size: int = 32
    balance: str = "none"
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    patience: int = 0
    init: str = ""
    segmenter: str = "segmenter"
    split_seed: int = 0
    seed: int = 0
    mean: float = 0.5
    std: float = 0.25
    # Written by hand into recipes for their readers; nothing computes with it.
    description: str = field(default="", compare=False)

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def size_at(self, epoch: int) -> int:
        """Return the input size of an epoch, counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.size
            epoch -= stage.epochs
        return self.stages[-1].size

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values; :func:`recipe_from_dict` reads them back."""
        return asdict(self)


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name : str or path-like
        A name of :func:`recipe_names`, or the path of a TOML file.

    Raises
    ------
    RecipeError
        If there is no such recipe, or it has an unknown, missing or impossible value.
    """
    text = str(name)
    path = Path(name) if text.endswith(".toml") else Path(__file__).parent / f"{text}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(
            f"{text}: no such recipe; give the path of a .toml file or one of: {', '.join(recipe_names())}"
        ) from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: not readable as TOML ({error})") from error
    return recipe_from_dict(values, str(path))


def recipe_from_dict(values: Mapping[str, Any], origin: str = "recipe") -> Recipe:
    """Make a recipe from plain values and check it; `origin` stands in the messages."""
    known = {item.name for item in fields(Recipe)}
    needed = {item.name for item in fields(Recipe) if item.default is MISSING}
    if unknown := sorted(values.keys() - known):
        raise RecipeError(
            f"{origin}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    if missing := sorted(needed - values.keys()):
        raise RecipeError(f"{origin}: missing keys {', '.join(missing)}")
    changed = dict(values)
    try:
        changed["stages"] = tuple(Stage(**stage) for stage in values["stages"])
        if values.get("region") is not None:
            changed["region"] = Region(**values["region"])
        recipe = Recipe(**changed)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{origin}: stages or region: {error}") from error
    for problem in _wrong_types(recipe, *recipe.stages) or _problems(recipe):
        raise RecipeError(f"{origin}: {problem}")
    return recipe


def _wrong_types(*parts: Recipe | Stage) -> list[str]:
    problems = []
    for part in parts:
        for item in fields(part):
            value, kind = getattr(part, item.name), _TYPES.get(str(item.type), (object,))
            if not isinstance(value, kind) or isinstance(value, bool):
                problems.append(f"{item.name} is {value!r}; expected {item.type}")
    return problems


def _problems(recipe: Recipe) -> list[str]:
    problems = []
    if recipe.task not in LOSSES:
        return [f"task is {recipe.task!r}; expected one of {', '.join(LOSSES)}"]
    if recipe.loss not in LOSSES[recipe.task]:
        problems.append(f"loss is {recipe.loss!r}; for {recipe.task}: {', '.join(LOSSES[recipe.task])}")
    if recipe.balance not in BALANCES:
        problems.append(f"balance is {recipe.balance!r}; expected one of {', '.join(BALANCES)}")
    if (recipe.task == "classification") != (recipe.region is not None):
        problems.append("a classification recipe names a region, a segmentation recipe none")
    if not recipe.stages or any(stage.size < 1 or stage.epochs < 1 for stage in recipe.stages):
        problems.append("stages needs at least one stage with a positive size and number of epochs")
    for name in ("input_size", "batch_size", "learning_rate", "std"):
        if getattr(recipe, name) <= 0:
            problems.append(f"{name} is {getattr(recipe, name)}; expected a number above 0")
    for name in ("warmup", "label_smoothing", "ema_decay"):
        if not 0 <= getattr(recipe, name) < 1:
            problems.append(f"{name} is {getattr(recipe, name)}; expected a number in [0, 1)")
    return problems
