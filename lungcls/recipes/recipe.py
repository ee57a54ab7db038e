"""A training run as one TOML file, checked when it is read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from lungcls.errors import RecipeError
from lungcls.regions import Region
from lungcls.tone import TONES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOSSES: Final = {"segmentation": ("dice_bce",), "classification": ("cross_entropy", "bce", "focal")}
BALANCES: Final = ("class_weights", "sampler", "none")
OPTIMIZERS: Final = ("adamw", "adam")
SCHEDULES: Final = ("cosine", "constant")
SELECTIONS: Final = ("score", "loss")
BIASES: Final = ("none", "validation")
TRAINABLE: Final = ("all", "head")
# Regions that show lungs alone, and those that show what surrounds them.
MASKED: Final = ("mask", "mask_uncropped")
UNMASKED: Final = ("full", "crop")
MINORITY: Final = "minority"

# Of the plain values, by the annotation of their field.
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "dict[str, Any]": (dict,),
    "dict[str, int]": (dict,),
    "str | int": (str, int),
    "tuple[str, ...]": (tuple,),
}


@dataclass(frozen=True)
class Stage:
    """One part of the schedule: so many epochs at one input size.

    Attributes
    ----------
    size, epochs : int
    learning_rate : float
        In place of the recipe's; 0 keeps that one.
    train : {"all", "head"} or int
        What learns: everything, the head alone (the backbone is frozen, :func:`lungcls.models.layers.head`),
        or the last so many layers with parameters, the head's included. Batch norm is frozen where its layer
        is: it keeps its statistics.
    """

    size: int
    epochs: int
    learning_rate: float = 0.0
    train: str | int = "all"


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
    loss : {"dice_bce", "cross_entropy", "bce", "focal"}
        ``bce`` is binary cross-entropy of the second of two classes, or of each of more classes against the
        rest; ``focal`` is :class:`lungcls.training.losses.FocalLoss`.
    augmentation : str
        A name of :mod:`lungcls.data.augmentation`.
    learning_rate, weight_decay : float
        Of the optimizer; the rate rises over the first `warmup` of all steps and falls to 0 as a cosine.
    batch_size : int
        A process; several devices multiply it.
    balance : {"class_weights", "sampler", "none"}
        How a classifier meets unequal classes.
    bias : {"none", "validation"}
        Whether the finished classifier's last layer gets a bias by class that is fitted on the validation
        part (:func:`lungcls.evaluation.calibration.fit_bias`): balanced training takes all classes for
        equally frequent.
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
    tone : str
        What is done to grey levels before a view is cut: a name of :data:`lungcls.tone.TONES`.
    optimizer : {"adamw", "adam"}
    schedule : {"cosine", "constant"}
        ``constant`` keeps the rate of the recipe or the stage, without a warm-up.
    focal_gamma, focal_alpha : float
        Of the focal loss.
    l2_conv : float
        Times the sum of squares of all convolution kernels, added to the loss.
    offline : dict of str to int
        Images that a class has in training after augmented copies of its own were added, by class;
        ``minority`` stands for the class with the fewest.
    offline_augmentation : str
        What makes the copies.
    select : {"score", "loss"}
        Which figure on validation decides the epoch that is kept, and the patience.
    mixup, cutmix : float
        Parameter of the Beta distribution of :func:`lungcls.training.mixing.mixing`; 0 turns it off.
    mask_jitter : float
        How far the outline of the lungs moves at random, as a fraction of the view; for regions that show
        lungs alone (:func:`lungcls.training.lungs.jittered`). 0 turns it off.
    other_surroundings : float
        Share of films whose lungs are put before another film's surroundings; for regions that show what
        surrounds the lungs (:func:`lungcls.training.lungs.with_other_surroundings`). 0 turns it off.
    teachers : tuple of str
        Weight files of classifiers that the network learns from beside the labels.
    distillation, distillation_temperature : float
        Share of the loss that is the distance from the teachers' answers, and what divides the logits there.
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
    optimizer: str = "adamw"
    schedule: str = "cosine"
    focal_gamma: float = 2.0
    focal_alpha: float = 0.25
    l2_conv: float = 0.0
    offline: dict[str, int] = field(default_factory=dict)
    offline_augmentation: str = "classification-light"
    select: str = "score"
    mixup: float = 0.0
    cutmix: float = 0.0
    mask_jitter: float = 0.0
    other_surroundings: float = 0.0
    teachers: tuple[str, ...] = ()
    distillation: float = 0.5
    distillation_temperature: float = 2.0
    bias: str = "none"
    tone: str = "range"
    # Written by hand into recipes for their readers; nothing computes with it.
    description: str = field(default="", compare=False)

    @property
    def lungs_beside(self) -> bool:
        """Whether training needs the lungs beside each view, to change their outline or surroundings."""
        return bool(self.mask_jitter or self.other_surroundings)

    @property
    def needs_masks(self) -> bool:
        """Whether a classifier's training needs lung masks."""
        return self.region is not None and (self.region.needs_mask or self.lungs_beside)

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def stage_at(self, epoch: int) -> Stage:
        """Return the stage of an epoch, counted from 0; the last one for all that follow."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage
            epoch -= stage.epochs
        return self.stages[-1]

    def size_at(self, epoch: int) -> int:
        """Return the input size of an epoch, counted from 0."""
        return self.stage_at(epoch).size

    def rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch before warm-up and cosine."""
        return self.stage_at(epoch).learning_rate or self.learning_rate

    def cut(self, epochs: int) -> Recipe:
        """Return the recipe with no stage longer than so many epochs, for a trial."""
        return replace(self, stages=tuple(replace(s, epochs=min(s.epochs, epochs)) for s in self.stages))

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values; :func:`recipe_from_dict` reads them back."""
        return asdict(self)


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package, sorted; ``folder/name`` below a folder."""
    root = Path(__file__).parent
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.toml"))


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
    needed = {
        item.name for item in fields(Recipe) if item.default is MISSING and item.default_factory is MISSING
    }
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
        if isinstance(values.get("teachers"), list):
            changed["teachers"] = tuple(values["teachers"])
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
    for name, choices in (
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("select", SELECTIONS),
        ("bias", BIASES),
        ("tone", TONES),
    ):
        if getattr(recipe, name) not in choices:
            problems.append(f"{name} is {getattr(recipe, name)!r}; expected one of {', '.join(choices)}")
    for stage in recipe.stages:
        if stage.train not in TRAINABLE and not (isinstance(stage.train, int) and stage.train >= 1):
            problems.append(f"train is {stage.train!r}; expected 'all', 'head' or a number of layers above 0")
        if stage.learning_rate < 0:
            problems.append(f"learning_rate of a stage is {stage.learning_rate}; expected 0 or more")
    for name in ("focal_gamma", "focal_alpha", "l2_conv", "mixup", "cutmix"):
        if getattr(recipe, name) < 0:
            problems.append(f"{name} is {getattr(recipe, name)}; expected 0 or more")
    if recipe.loss in ("bce", "focal") and recipe.label_smoothing:
        problems.append(f"label_smoothing goes with the loss cross_entropy, not with {recipe.loss}")
    if recipe.offline and recipe.task != "classification":
        problems.append("offline goes with classification")
    if any(
        not isinstance(count, int) or isinstance(count, bool) or count < 1
        for count in recipe.offline.values()
    ):
        problems.append(f"offline is {recipe.offline}; expected a number of images by class")
    if (recipe.mixup or recipe.cutmix) and recipe.loss != "cross_entropy":
        problems.append(f"mixup and cutmix go with the loss cross_entropy, not with {recipe.loss}")
    seen = recipe.region.name if recipe.region else "none"
    if recipe.mask_jitter and seen not in MASKED:
        problems.append(f"mask_jitter goes with the regions {', '.join(MASKED)}, not with {seen}")
    if recipe.other_surroundings and seen not in UNMASKED:
        problems.append(f"other_surroundings goes with the regions {', '.join(UNMASKED)}, not with {seen}")
    if recipe.lungs_beside and recipe.offline:
        problems.append("offline copies have no lungs beside them: leave out offline, or what changes lungs")
    if recipe.bias != "none" and recipe.task != "classification":
        problems.append("bias goes with classification")
    if recipe.teachers and recipe.task != "classification":
        problems.append("teachers go with classification")
    if not all(isinstance(name, str) for name in recipe.teachers):
        problems.append(f"teachers is {recipe.teachers}; expected names or paths of weight files")
    if (recipe.task == "classification") != (recipe.region is not None):
        problems.append("a classification recipe names a region, a segmentation recipe none")
    if not recipe.stages or any(stage.size < 1 or stage.epochs < 1 for stage in recipe.stages):
        problems.append("stages needs at least one stage with a positive size and number of epochs")
    for name in ("input_size", "batch_size", "learning_rate", "std", "distillation_temperature"):
        if getattr(recipe, name) <= 0:
            problems.append(f"{name} is {getattr(recipe, name)}; expected a number above 0")
    for name in ("other_surroundings", "distillation"):
        if not 0 <= getattr(recipe, name) <= 1:
            problems.append(f"{name} is {getattr(recipe, name)}; expected a number in [0, 1]")
    if not 0 <= recipe.mask_jitter <= 0.2:
        problems.append(f"mask_jitter is {recipe.mask_jitter}; expected a number in [0, 0.2]")
    for name in ("warmup", "label_smoothing", "ema_decay"):
        if not 0 <= getattr(recipe, name) < 1:
            problems.append(f"{name} is {getattr(recipe, name)}; expected a number in [0, 1)")
    return problems
