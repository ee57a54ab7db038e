"""Cards: what stands beside a weight file and says all that is needed to use it, checked value by value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, Final

from lungcls.conformal import check_stored
from lungcls.errors import WeightsError
from lungcls.regions import Region
from lungcls.tone import TONES

FORMAT: Final = 1
"""Version of the card's fields."""

TASKS: Final = ("segmentation", "classification", "gate")

ACTIVATIONS: Final = ("softmax", "sigmoid")
"""What makes probabilities of a classifier's outputs: one class a film, or several findings."""

GATE_THRESHOLDS: Final = ("chest", "film", "frontal", "inverted", "distance")
"""What a gate's card must have a threshold for."""

_LARGEST_SIDE: Final = 8192
# Of the numbers of an architecture: no network here comes near, and a card shall not build one for hours.
_LARGEST_OPTION: Final = 8192
_MOST_OPTIONS: Final = 64
_SHOWN: Final = 80
_STEM: Final = re.compile(r"[^\x00-\x1f/\\:.][^\x00-\x1f/\\:]{0,199}")


@dataclass(frozen=True)
class Card:
    """All that is needed to use a weight file, and where it came from.

    Attributes
    ----------
    name : str
        Also the stem of both files.
    task : {"segmentation", "classification", "gate"}
    architecture : dict
        As :func:`lungcls.models.create_model` takes it.
    input_size : int
        Side of the network's square input, in pixels.
    value_range : (float, float)
        Range of the pixels before they are normalised.
    mean, std : float
        The network sees ``(pixel - mean) / std``.
    region : dict or None
        What a classifier sees (:class:`lungcls.regions.Region`); None for a segmenter.
    classes : tuple of str
        Order of the outputs.
    temperature : float
        Logits are divided by it before the softmax.
    thresholds : dict of str to float
        ``mask``: a pixel whose probability is above it is lung. Those of a gate: see
        :func:`lungcls.quality.judge`. By finding: a probability from which on it is said to be there.
    training_data : dict
        Dataset, counts, seed and hash of the split.
    recipe : dict
        The recipe that trained the weights, whole.
    metrics : dict
        Figures on the validation part, under ``validation``.
    versions : dict of str to str
        Of the libraries that trained the weights, and the device.
    licence : str
    sha256 : str
        Of the weight file.
    conformal : dict
        What a classifier's conformal sets are made of (:mod:`lungcls.conformal`); empty if it was never
        calibrated for them.
    files : dict of str to str
        SHA-256 by name of the files beside the card that were made of these weights: an ONNX graph that
        points into them, or what ``lungcls export`` wrote.
    ancestors : tuple of dict of str to str
        The weights that these descend from (:func:`lungcls.lineage.ancestors`); empty where no card said so.
    tone : str
        What is done to the grey levels of an image before its view is cut (:mod:`lungcls.tone`).
    activation : {"softmax", "sigmoid"}
        ``sigmoid``: the classes are findings of which a film may have several, each with a probability of its
        own.
    platt : dict of str to [float, float]
        By finding: the probability is ``sigmoid(slope * logit + intercept)`` (Platt 1999); empty for
        [1, 0] each.
    format : int
        Version of these fields.
    """

    name: str
    task: str
    architecture: dict[str, Any]
    input_size: int
    value_range: tuple[float, float]
    mean: float
    std: float
    region: dict[str, Any] | None
    classes: tuple[str, ...]
    temperature: float
    thresholds: dict[str, float]
    training_data: dict[str, Any]
    recipe: dict[str, Any]
    metrics: dict[str, Any]
    versions: dict[str, str]
    licence: str
    sha256: str
    conformal: dict[str, Any] = dataclass_field(default_factory=dict)
    tone: str = "range"
    files: dict[str, str] = dataclass_field(default_factory=dict)
    ancestors: tuple[dict[str, str], ...] = ()
    activation: str = "softmax"
    platt: dict[str, Any] = dataclass_field(default_factory=dict)
    format: int = FORMAT

    @property
    def multilabel(self) -> bool:
        """Whether the classes are findings of which a film may have several."""
        return self.activation == "sigmoid"

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON-safe values."""
        return asdict(self)


def check_card(values: Any, path: Path) -> Card:
    """Make a card of plain values, as JSON gives them.

    Parameters
    ----------
    values : any
    path : Path
        Of the card, for the messages.

    Returns
    -------
    Card

    Raises
    ------
    WeightsError
        If a field is missing, unknown or impossible; the message names all that are.
    """
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: the card is a JSON {type(values).__name__}; expected an object")
    if values.get("format", FORMAT) != FORMAT:
        raise WeightsError(
            f"{path}: the card has format {_shown(values['format'])}; this lungcls reads {FORMAT}. Update "
            "lungcls"
        )
    field_names = {field.name for field in fields(Card)}
    needed = {f.name for f in fields(Card) if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(needed - values.keys()):
        raise WeightsError(f"{path}: the card lacks the fields {', '.join(missing)}")
    if unknown := sorted(map(str, values.keys() - field_names)):
        raise WeightsError(f"{path}: the card has unknown fields {', '.join(unknown)}")
    problems = [
        f"{name} is {_shown(values[name])}; expected {wanted}"
        for name, (right, wanted) in _FIELDS.items()
        if name in values and not right(values[name])
    ]
    problems = problems or _contradictions(values)
    if problems:
        raise WeightsError(f"{path}: {'; '.join(problems)}")
    return Card(
        **{
            **values,
            "value_range": (0.0, 1.0),
            "classes": tuple(values["classes"]),
            "ancestors": tuple(values.get("ancestors", ())),
        }
    )


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with fields that are each well formed."""
    problems = []
    if (values["task"] == "classification") != (values["region"] is not None):
        problems.append("a classifier's card names a region, all others none")
    try:
        if values["region"] is not None:
            Region(**values["region"])
    except (TypeError, ValueError) as error:
        problems.append(f"region is {_shown(values['region'])}: {error}")
    gate = values["task"] == "gate"
    needed = {"segmentation": ("mask",), "gate": GATE_THRESHOLDS}.get(values["task"], ())
    for name in {**dict.fromkeys(needed), **values["thresholds"]}:
        value = values["thresholds"].get(name)
        if not is_number(value) or (name in needed and not (value > 0 and (gate or value < 1))):
            wanted = "finite number above 0" if gate else "number between 0 and 1"
            problems.append(f"thresholds.{name} is {_shown(value)}; expected a {wanted}")
    if values.get("activation") == "sigmoid":
        problems += _contradictions_of_findings(values)
    elif values.get("platt"):
        problems.append("platt goes with the activation sigmoid")
    try:
        check_stored(values.get("conformal", {}), values["classes"])
    except (TypeError, ValueError, OverflowError) as error:
        problems.append(f"conformal: {error}; make it anew with `lungcls calibrate`")
    return problems


def _contradictions_of_findings(values: Mapping[str, Any]) -> list[str]:
    problems = []
    classes, platt, thresholds = set(values["classes"]), values.get("platt", {}), values["thresholds"]
    if values["task"] != "classification":
        problems.append("activation is 'sigmoid', which goes with classification")
    for name, by_finding in (("platt", platt), ("thresholds", thresholds)):
        if by_finding and set(by_finding) != classes:
            problems.append(f"{name} must have an entry for each of {_shown(sorted(classes))}")
    if not all(
        isinstance(v, (list, tuple)) and len(v) == 2 and all(map(is_number, v)) for v in platt.values()
    ):
        problems.append("platt must be two finite numbers a finding, slope and intercept")
    if not all(is_number(value) and 0 <= value <= 1 for value in thresholds.values()):
        problems.append("thresholds of findings must lie between 0 and 1")
    return problems


def is_number(value: Any, *, whole: bool = False) -> bool:
    """Whether a plain value is a finite number (JSON and TOML have others), and a whole one if asked."""
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def is_stem(value: Any) -> bool:
    """Whether a plain value is one part of a path: names become those of files."""
    return isinstance(value, str) and _STEM.fullmatch(value) is not None


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _options(value: Any, depth: int = 0) -> bool:
    """Whether it is an architecture: options by name, of plain values that build no monster."""
    if isinstance(value, (list, tuple)):
        return depth == 1 and len(value) <= _MOST_OPTIONS and all(_options(one, 2) for one in value)
    if depth == 0:
        return isinstance(value, dict) and all(_options(one, 1) for one in value.values())
    return _text(value) or isinstance(value, bool) or (is_number(value) and abs(value) <= _LARGEST_OPTION)


def _names(value: Any) -> bool:
    texts = isinstance(value, (list, tuple)) and bool(value) and all(map(_text, value))
    return texts and len(set(value)) == len(value)


def _listed(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(one, dict) and all(map(_text, one.values())) for one in value
    )


_OBJECT: Final = (_object, "an object")
_FIELDS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "name": (is_stem, "the stem of a file's name, such as classifier-mask"),
    "task": (lambda value: value in TASKS, f"one of {', '.join(TASKS)}"),
    "architecture": (_options, f"an object of options, numbers up to {_LARGEST_OPTION}"),
    "input_size": (
        lambda value: is_number(value, whole=True) and 0 < value <= _LARGEST_SIDE,
        f"a positive integer up to {_LARGEST_SIDE}",
    ),
    # Networks are fed by one road, which scales all images to this range.
    "value_range": (lambda value: isinstance(value, (list, tuple)) and list(value) == [0, 1], "[0, 1]"),
    "mean": (is_number, "a finite number"),
    "std": (_positive, "a finite number above 0"),
    "region": (lambda value: value is None or isinstance(value, dict), "an object or null"),
    "classes": (_names, "a list of different names"),
    "temperature": (_positive, "a finite number above 0"),
    "thresholds": _OBJECT,
    "training_data": _OBJECT,
    "recipe": _OBJECT,
    "metrics": _OBJECT,
    "versions": (lambda value: _object(value) and all(map(_text, value.values())), "an object of texts"),
    "licence": (_text, "a text"),
    "sha256": (_sha256, "64 hexadecimal digits"),
    "files": (
        lambda value: _object(value) and all(is_stem(k) and _sha256(v) for k, v in value.items()),
        "an object of SHA-256 by file name",
    ),
    "ancestors": (_listed, "a list of objects of texts"),
    "tone": (lambda value: value in TONES, f"one of {', '.join(TONES)}"),
    "activation": (lambda value: value in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
    "platt": _OBJECT,
}


def _shown(value: Any) -> str:
    """A value as an error shows it: a hostile one may be a megabyte long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # digits beyond Python's limit, lists within lists
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
