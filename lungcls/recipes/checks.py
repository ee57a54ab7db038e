"""All that can be wrong with a recipe's values, found at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

from lungcls.cards import is_number, is_stem
from lungcls.errors import OptionError
from lungcls.models.imagenet import NORMALISATION, lite_variant
from lungcls.models.registry import model_spec
from lungcls.regions import Region
from lungcls.tone import TONES

LOSSES: Final = {"segmentation": ("dice_bce",), "classification": ("cross_entropy", "bce", "focal")}
GROUPS: Final = (
    "small",
    "released on a CPU",
    "released on a GPU",
    "first tries",
    "own data",
    "ablation",
    "references",
)
"""Groups of the recipes that come with the package, in the order in which they are listed."""

# Regions that show lungs alone, and those that show what surrounds them.
MASKED: Final = ("mask", "mask_uncropped")
UNMASKED: Final = ("full", "crop")

_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "task": tuple(LOSSES),
    "balance": ("class_weights", "sampler", "none"),
    "optimizer": ("adamw", "adam"),
    "schedule": ("cosine", "constant"),
    "select": ("score", "loss"),
    "bias": ("none", "validation"),
    "tone": TONES,
    "balance_within": ("none", "processing", "source"),
    "group": ("", *GROUPS),
}
_SEED: Final = 2**32 - 1  # what numpy and Lightning take
_LARGEST: Final = 65536

# Of the numbers: what they may be, and how that is said.
_POSITIVE: Final = (lambda value: value > 0, "a finite number above 0")
_NOT_NEGATIVE: Final = (lambda value: value >= 0, "a finite number, 0 or more")
_SHARE: Final = (lambda value: 0 <= value <= 1, "a number in [0, 1]")
_BELOW_ONE: Final = (lambda value: 0 <= value < 1, "a number in [0, 1)")
_COUNT: Final = (lambda value: 1 <= value <= _LARGEST, f"a whole number from 1 to {_LARGEST}")
_SEEDS: Final = (lambda value: 0 <= value <= _SEED, f"a whole number from 0 to {_SEED}")
_RANGES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    **dict.fromkeys(("input_size", "batch_size", "size", "epochs"), _COUNT),
    **dict.fromkeys(("std", "distillation_temperature"), _POSITIVE),
    **dict.fromkeys(
        ("weight_decay", "focal_gamma", "focal_alpha", "l2_conv", "mixup", "cutmix"), _NOT_NEGATIVE
    ),
    **dict.fromkeys(("other_surroundings", "distillation"), _SHARE),
    **dict.fromkeys(("warmup", "label_smoothing", "ema_decay"), _BELOW_ONE),
    **dict.fromkeys(("split_seed", "seed"), _SEEDS),
    "learning_rate": _POSITIVE,
    "mask_jitter": (lambda value: 0 <= value <= 0.2, "a number in [0, 0.2]"),
    "patience": (lambda value: 0 <= value <= _LARGEST, "a whole number, 0 or more"),
    "mean": (lambda value: True, "a finite number"),
}
_TEXT: Final = "a text"


def find_problems(values: Mapping[str, Any], recipe: type[Any], stage: type[Any]) -> list[str]:
    """Return what is wrong with a recipe's plain values, in sentences; nothing where all is right.

    Parameters
    ----------
    values : mapping
        As TOML or JSON gives them.
    recipe, stage : dataclass
        :class:`lungcls.recipes.Recipe` and :class:`lungcls.recipes.Stage`.
    """
    problems = _keys(values, recipe)
    kinds = {item.name: str(item.type) for item in fields(recipe)}
    wrong = {}
    for name, value in values.items():
        if name in kinds and (problem := _value(name, value, kinds[name])):
            wrong[name] = problem
    wrong |= _stages(values["stages"], stage) if "stages" in values and "stages" not in wrong else {}
    defaults = {item.name: item.default for item in fields(recipe) if item.default is not MISSING}
    usable = {**defaults, **{name: value for name, value in values.items() if name not in wrong}}
    return [*problems, *wrong.values(), *_contradictions(usable)]


def _keys(values: Mapping[str, Any], kind: type[Any]) -> list[str]:
    allowed = {item.name for item in fields(kind)}
    needed = {i.name for i in fields(kind) if i.default is MISSING and i.default_factory is MISSING}
    problems = []
    if unknown := sorted(map(str, values.keys() - allowed)):
        problems.append(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(allowed))}")
    if missing := sorted(needed - values.keys()):
        problems.append(f"missing keys {', '.join(missing)}")
    return problems


def _value(name: str, value: Any, kind: str) -> str | None:
    """What is wrong with one value, looked at alone."""
    wanted = None
    if name in _CHOICES:
        wanted = None if value in _CHOICES[name] else f"one of {', '.join(map(repr, _CHOICES[name]))}"
    elif name in _RANGES:
        fits, said = _RANGES[name]
        wanted = None if is_number(value, whole=kind == "int") and fits(value) else said
    elif name == "name":
        wanted = None if is_stem(value) else "the stem of a file's name"
    elif name == "region":
        return _region(value)
    elif name == "model":
        return _model(value)
    elif name == "offline":
        right = isinstance(value, dict) and all(is_number(n, whole=True) and n >= 1 for n in value.values())
        wanted = None if right else "a number of images by class"
    elif name == "teachers":
        right = isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
        wanted = None if right else "a list of names or paths of weight files"
    elif name == "stages":
        right = isinstance(value, (list, tuple)) and bool(value) and all(isinstance(s, dict) for s in value)
        wanted = None if right else "at least one stage, such as { size = 128, epochs = 5 }"
    elif kind == "str":
        wanted = None if isinstance(value, str) else _TEXT
    return f"{name} is {value!r}; expected {wanted}" if wanted else None


def _region(value: Any) -> str | None:
    try:
        if value is not None:
            Region(**value)
    except (TypeError, ValueError) as error:
        return f"region is {value!r}: {error}"
    return None


def _model(value: Any) -> str | None:
    if not isinstance(value, dict):
        return f"model is {value!r}; expected a table, such as [model] model = 'densenet121'"
    try:
        model_spec(value.get("model"))
    except OptionError as error:
        return f"model: {error}"
    return None


def _stages(stages: Any, kind: type[Any]) -> dict[str, str]:
    kinds = {item.name: str(item.type) for item in fields(kind)}
    problems = {}
    for number, values in enumerate(stages, 1):
        wrong = _keys(values, kind)
        for name, value in values.items():
            if name == "train":
                if value not in ("all", "head", "block") and not (
                    is_number(value, whole=True) and value >= 1
                ):
                    wrong.append(
                        f"train is {value!r}; expected 'all', 'block', 'head' or a number of layers above 0"
                    )
            elif name == "learning_rate":
                if not is_number(value) or value < 0:
                    wrong.append(f"learning_rate is {value!r}; expected 0 or a finite number above it")
            elif name in kinds and (problem := _value(name, value, kinds[name])):
                wrong.append(problem)
        if wrong:
            problems[f"stage {number}"] = f"stage {number}: {', '.join(wrong)}"
    return problems


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """What does not go together, of values that are each possible; those that are not are left out."""
    get = values.get
    task, loss, model = get("task"), get("loss"), get("model", {})
    classifies, known_task = task == "classification", task is not None
    region = get("region")
    seen = region["name"] if isinstance(region, dict) and "name" in region else "mask" if region else "none"
    smooth, mixed = get("label_smoothing", 0), get("mixup", 0) or get("cutmix", 0)
    checks = [
        (
            known_task and loss is not None and loss not in LOSSES[str(task)],
            f"loss is {loss!r}; for {task}: {', '.join(LOSSES.get(str(task), ()))}",
        ),
        (
            loss in ("bce", "focal") and smooth,
            f"label_smoothing goes with the loss cross_entropy, not with {loss}",
        ),
        (
            mixed and loss != "cross_entropy",
            f"mixup and cutmix go with the loss cross_entropy, not with {loss}",
        ),
        (
            "region" in values and get("mask_jitter") and seen not in MASKED,
            f"mask_jitter goes with the regions {', '.join(MASKED)}, not with {seen}",
        ),
        (
            "region" in values and get("other_surroundings") and seen not in UNMASKED,
            f"other_surroundings goes with the regions {', '.join(UNMASKED)}, not with {seen}",
        ),
        (
            (get("mask_jitter") or get("other_surroundings")) and get("offline"),
            "offline copies have no lungs beside them: leave out offline, or what changes lungs",
        ),
        (
            get("balance_within", "none") != "none" and get("offline"),
            "offline copies have no processing or source of their own: leave out offline or balance_within",
        ),
        *(
            (
                known_task and not classifies and get(name, "none") not in ("none", (), [], {}),
                f"{name} goes with classification",
            )
            for name in ("offline", "bias", "teachers", "balance_within")
        ),
        (
            known_task and "region" in values and classifies != (region is not None),
            "a classification recipe names a region, a segmentation recipe none",
        ),
        (
            known_task and model.get("model") and model_spec(model["model"]).task != task,
            f"the model {model.get('model')!r} is not for {task}",
        ),
        (
            model.get("pretrained") == "imagenet" and lite_variant(model) is not None
            and "mean" in values and "std" in values and (values["mean"], values["std"]) != NORMALISATION,
            f"mean and std are {get('mean')} and {get('std')}; the ImageNet weights of EfficientNet-Lite "
            f"expect {NORMALISATION[0]} and {NORMALISATION[1]}",
        ),
    ]  # fmt: skip
    return [said for wrong, said in checks if wrong]
