"""Weight files and their cards: what was released, where it lies, and whether it is whole.

Beside each ``<name>.safetensors`` stands ``<name>.json``, a card that says all that is needed to use the
weights. Nothing here needs torch but :func:`load_state` and :func:`save_weights`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lungcls.conformal import check_stored
from lungcls.errors import WeightsError
from lungcls.files import atomic_write, file_sha256
from lungcls.regions import Region
from lungcls.tone import TONES

if TYPE_CHECKING:
    from torch import Tensor

FORMAT: Final = 1
"""Version of the card's fields."""

TASKS: Final = ("segmentation", "classification", "gate")

SUFFIXES: Final = (".safetensors", ".onnx", ".xml", ".pt2")
"""Weight files, and what ``lungcls export`` makes of them."""

# Kept in a weight file beside the parameters, but not learnt by gradients.
_BUFFERS: Final = ("running_mean", "running_var", "num_batches_tracked")

GATE_THRESHOLDS: Final = ("chest", "film", "frontal", "inverted", "distance")
"""What a gate's card must have a threshold for."""


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
        :func:`lungcls.quality.judge`.
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
    tone : str
        What is done to the grey levels of an image before its view is cut (:mod:`lungcls.tone`).
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
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON-safe values."""
        return asdict(self)


def released() -> list[str]:
    """Return the names of the weights that come with the package, sorted."""
    return sorted(path.stem for path in _release_folder().glob("*.json"))


def find_weights(name: str | Path) -> Path:
    """Return the path of a weight file.

    Parameters
    ----------
    name : str or path-like
        The name of a released weight file, or the path of any ``.safetensors`` file, or file that ``lungcls
        export`` wrote, with its card beside it.

    Raises
    ------
    WeightsError
        If there is no such file; the message lists what is there.
    """
    text = str(name)
    path = Path(name) if text.endswith(SUFFIXES) else _release_folder() / f"{text}.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{text}: no such weight file; give the path of a .safetensors file or one of the released "
            f"names: {', '.join(released()) or 'none are installed'}"
        )
    return path


def load_card(name: str | Path) -> Card:
    """Read and check the card of a weight file.

    Parameters
    ----------
    name : str or path-like
        As :func:`find_weights` takes it.

    Returns
    -------
    Card

    Raises
    ------
    WeightsError
        If the card is missing, is no JSON, or lacks a field or has an impossible one.
    """
    path = find_weights(name).with_suffix(".json")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: the card is missing; it must stand beside its weight file") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: the card is not readable as JSON ({error})") from error
    return _check(values, path)


def load_state(name: str | Path) -> tuple[Card, dict[str, Tensor]]:
    """Read a weight file after checking it against its card.

    Parameters
    ----------
    name : str or path-like
        As :func:`find_weights` takes it.

    Returns
    -------
    card : Card
    state : dict of str to torch.Tensor
        float32 (files are float16), on the CPU.

    Raises
    ------
    WeightsError
        If the card does not fit (:func:`load_card`) or the file's SHA-256 is not the card's.
    """
    from safetensors.torch import load_file

    card = checked_card(name)
    state = load_file(find_weights(name))
    return card, {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def checked_card(name: str | Path) -> Card:
    """Read the card of a weight file and compare the file with it.

    Parameters
    ----------
    name : str or path-like
        As :func:`find_weights` takes it.

    Returns
    -------
    Card

    Raises
    ------
    WeightsError
        As :func:`load_state`.
    """
    card = load_card(name)
    path = find_weights(name)
    found = file_sha256(path)
    if found != card.sha256:
        raise WeightsError(
            f"{path}: SHA-256 is {found}, its card says {card.sha256}; the file is damaged or not the "
            "card's. Install lungcls again, or write both with `lungcls train`"
        )
    return card


def save_weights(folder: str | Path, state: Mapping[str, Tensor], **values: Any) -> Path:
    """Write a weight file in float16 and its card.

    Parameters
    ----------
    folder : path-like
    state : mapping of str to torch.Tensor
    **values
        The fields of :class:`Card` but ``sha256``.

    Returns
    -------
    Path
        Of the ``.safetensors`` file.

    Raises
    ------
    WeightsError
        If a field of the card is missing or impossible; nothing is written then.
    """
    import torch
    from safetensors.torch import save

    path = Path(folder) / f"{values['name']}.safetensors"
    half = {
        key: value.detach().cpu().to(torch.float16 if value.is_floating_point() else value.dtype).contiguous()
        for key, value in state.items()
    }
    content = save(half)
    digest = hashlib.sha256(content).hexdigest()
    card = _check({**values, "sha256": digest, "format": FORMAT}, path.with_suffix(".json"))
    with atomic_write(path) as file:
        file.write(content)
    write_card(path, card)
    return path


def count_parameters(path: str | Path) -> int | None:
    """Count what was learnt by gradients, from the header of a weight file; None where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = [name for name in file.keys() if not name.endswith(_BUFFERS)]  # noqa: SIM118 - no mapping
            return sum(int(math.prod(file.get_slice(name).get_shape())) for name in names)
    except (SafetensorError, OSError):
        return None


def card_sha256(card: Card) -> str:
    """Return the SHA-256 of a card's fields: it changes with a new calibration, as the weights' does not."""
    return hashlib.sha256(json.dumps(card.to_dict(), sort_keys=True).encode()).hexdigest()


def write_card(path: str | Path, card: Card) -> None:
    """Write the card of the weight file `path` beside it."""
    with atomic_write(Path(path).with_suffix(".json"), "w") as file:
        file.write(json.dumps(card.to_dict(), indent=1) + "\n")


def _release_folder() -> Path:
    """In the wheel the weights lie in the package; in a checkout they stand beside it."""
    inside = Path(__file__).parent / "_weights"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "weights"


def _check(values: Any, path: Path) -> Card:
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: the card is a JSON {type(values).__name__}; expected an object")
    known = {field.name for field in fields(Card)}
    needed = {f.name for f in fields(Card) if f.default is MISSING and f.default_factory is MISSING}
    if values.get("format", FORMAT) != FORMAT:
        raise WeightsError(
            f"{path}: the card has format {values['format']}; this lungcls reads {FORMAT}. Update lungcls"
        )
    if missing := sorted(needed - values.keys()):
        raise WeightsError(f"{path}: the card lacks the fields {', '.join(missing)}")
    if unknown := sorted(values.keys() - known):
        raise WeightsError(f"{path}: the card has unknown fields {', '.join(unknown)}")
    if values["task"] not in TASKS:
        raise WeightsError(f"{path}: task is {values['task']!r}; expected one of {', '.join(TASKS)}")
    size = values["input_size"]
    if not isinstance(size, int) or size < 1:
        raise WeightsError(f"{path}: input_size is {size!r}; expected a positive integer")
    for field in ("mean", "std", "temperature"):
        value = values[field]
        positive = field != "mean"
        if not isinstance(value, (int, float)) or not math.isfinite(value) or (positive and value <= 0):
            raise WeightsError(
                f"{path}: {field} is {value!r}; expected a finite number{' above 0' * positive}"
            )
    if (values["task"] == "classification") != (values["region"] is not None):
        raise WeightsError(f"{path}: a classifier's card names a region, all others none")
    try:
        if values["region"] is not None:
            Region(**values["region"])
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path}: region is {values['region']!r}: {error}") from error
    # Networks are fed by one road, which scales all images to this range.
    if not isinstance(values["value_range"], (list, tuple)) or list(values["value_range"]) != [0, 1]:
        raise WeightsError(f"{path}: value_range is {values['value_range']!r}; expected [0, 1]")
    for field in ("architecture", "thresholds"):
        if not isinstance(values[field], dict):
            raise WeightsError(f"{path}: {field} is {values[field]!r}; expected an object")
    threshold = values["thresholds"].get("mask")
    if values["task"] == "segmentation" and not (isinstance(threshold, (int, float)) and 0 < threshold < 1):
        raise WeightsError(f"{path}: thresholds.mask is {threshold!r}; expected a number between 0 and 1")
    if values["task"] == "gate":
        for name in GATE_THRESHOLDS:
            value = values["thresholds"].get(name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                raise WeightsError(
                    f"{path}: thresholds.{name} is {value!r}; expected a finite number above 0"
                )
    if values.get("tone", "range") not in TONES:
        raise WeightsError(f"{path}: tone is {values['tone']!r}; expected one of {', '.join(TONES)}")
    if not isinstance(values["classes"], (list, tuple)) or not values["classes"]:
        raise WeightsError(f"{path}: classes is {values['classes']!r}; expected a list of names")
    try:
        check_stored(values.get("conformal", {}), values["classes"])
    except ValueError as error:
        raise WeightsError(f"{path}: conformal: {error}; make it anew with `lungcls calibrate`") from error
    return Card(**{**values, "value_range": (0.0, 1.0), "classes": tuple(values["classes"])})
