"""A training run as one TOML file, checked when it is read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lungcls.errors import RecipeError
from lungcls.recipes.checks import find_problems
from lungcls.regions import Region

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MINORITY: Final = "minority"


@dataclass(frozen=True)
class Stage:
    """One part of the schedule: so many epochs at one input size.

    Attributes
    ----------
    size, epochs : int
    learning_rate : float
        In place of the recipe's; 0 keeps that one.
    train : {"all", "block", "head"} or int
        What learns: everything, the last block and all behind it (:func:`lungcls.models.layers.last_block`),
        the head alone (the backbone is frozen, :func:`lungcls.models.layers.head`), or the last so many
        layers with parameters, the head's included. Batch norm is frozen where its layer is: it keeps its
        statistics.
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
    balance_within : {"none", "processing", "source"}
        What is drawn equally often within each class, as far as that draws no image more than four times as
        often as by chance: a network cannot then lean on how a class's films were processed.
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
    description, group, time : str
        What it is, one of :data:`lungcls.recipes.checks.GROUPS`, and how long it takes on what machine.
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
    balance_within: str = "none"
    # Written by hand into recipes for their readers; nothing computes with these.
    description: str = field(default="", compare=False)
    group: str = field(default="", compare=False)
    time: str = field(default="", compare=False)

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
    """Make a recipe from plain values and check it; `origin` stands in the messages.

    Raises
    ------
    RecipeError
        If anything is unknown, missing or impossible; the message names all that is.
    """
    problems = find_problems(values, Recipe, Stage)
    if problems:
        raise RecipeError(f"{origin}: " + "; ".join(problems))
    changed = dict(values)
    changed["stages"] = tuple(Stage(**stage) for stage in values["stages"])
    if values.get("region") is not None:
        changed["region"] = Region(**values["region"])
    if "teachers" in values:
        changed["teachers"] = tuple(values["teachers"])
    return Recipe(**changed)
