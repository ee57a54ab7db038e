"""Weight files and their cards: what was released, where it lies, and whether it is whole.

Beside each ``<name>.safetensors`` stands ``<name>.json``, a card that says all that is needed to use the
weights. Nothing here needs torch but :func:`load_state` and :func:`save_weights`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lungcls.cards import FORMAT as FORMAT
from lungcls.cards import Card as Card
from lungcls.cards import check_card
from lungcls.errors import OptionError, WeightsError
from lungcls.files import atomic_write, file_sha256, write_json

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES: Final = (".safetensors", ".onnx", ".xml", ".pt2")
"""Weight files, and what ``lungcls export`` makes of them."""

# Kept in a weight file beside the parameters, but not learnt by gradients.
_BUFFERS: Final = ("running_mean", "running_var", "num_batches_tracked")

# A file with holes can claim any size; no card, and no weights here, come near these.
_LARGEST: Final = {".json": 1 << 24}
_LARGEST_WEIGHTS: Final = 1 << 32


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
        check_size(path)
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: the card is missing; it must stand beside its weight file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the card is not readable as JSON ({error})") from error
    return check_card(values, path)


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
    from safetensors import SafetensorError
    from safetensors.torch import load

    card, path = load_card(name), find_weights(name)
    check_size(path)
    # Read once: what is checked is what is used.
    content = path.read_bytes()
    _compare(path, hashlib.sha256(content).hexdigest(), card.sha256)
    try:
        state = load(content)
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: not readable as safetensors ({error})") from error
    return card, {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def checked_card(name: str | Path) -> Card:
    """Read the card of a weight file and compare the weights, and no other file, with it.

    Parameters
    ----------
    name : str or path-like
        A released name, or the path of a ``.safetensors`` file.

    Returns
    -------
    Card

    Raises
    ------
    WeightsError
        As :func:`load_state`.
    """
    card, path = load_card(name), find_weights(name)
    check_size(path)
    _compare(path, file_sha256(path), card.sha256)
    return card


def check_file(path: Path, card: Card) -> None:
    """Compare a file that was made of weights with its card: an ONNX graph, or what an export wrote.

    Parameters
    ----------
    path : Path
    card : Card
        The one beside the file.

    Raises
    ------
    WeightsError
        If the file is missing, the card has no hash of it, or another.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: this file is missing; make it again with `lungcls export`")
    if path.name not in card.files:
        raise WeightsError(
            f"{path}: its card has no hash of this file, so it cannot be told whether it is whole; make both "
            "again with `lungcls export`"
        )
    check_size(path)
    _compare(path, file_sha256(path), card.files[path.name])


def check_size(path: Path) -> None:
    """Raise WeightsError where a file is larger than its kind can be."""
    size, largest = path.stat().st_size, _LARGEST.get(path.suffix, _LARGEST_WEIGHTS)
    if size > largest:
        raise WeightsError(f"{path}: {size:,} bytes; expected at most {largest:,} of such a file")


def _compare(path: Path, digest: str, expected: str) -> None:
    if digest != expected:
        raise WeightsError(
            f"{path}: SHA-256 is {digest}, its card says {expected}; the file is damaged or not the card's. "
            "Install lungcls again, or write both again with `lungcls train` or `lungcls export`"
        )


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
    card = check_card({**values, "sha256": digest, "format": FORMAT}, path.with_suffix(".json"))
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


def card_for(name: str | Path, task: str) -> Card:
    """Return the card of weights that must be made for a task; WeightsError or OptionError otherwise."""
    card = load_card(name)
    if card.task != task:
        raise OptionError(f"{name} is made for {card.task}; expected weights for {task}")
    return card


def write_card(path: str | Path, card: Card) -> None:
    """Write the card of the weight file `path` beside it."""
    write_json(Path(path).with_suffix(".json"), card.to_dict())


def write_card_of(path: Path, card: Card, *, also: str = "") -> None:
    """Write the card of what was made of weights beside it, with the hashes of the files.

    Parameters
    ----------
    path : Path
        Of the file that was made.
    card : Card
        Of the weights.
    also : str, default=""
        Suffix of a second file that belongs to it, such as ``.bin``.
    """
    files: dict[str, str] = {}
    try:
        before = load_card(path)
        if (before.sha256, before.name) == (card.sha256, card.name):
            files = before.files
    except WeightsError:
        pass  # there is none, or one of other weights that is replaced
    parts = [path, path.with_suffix(also)] if also else [path]
    hashes = {part.name: file_sha256(part) for part in parts}
    write_card(path, replace(card, files={**files, **hashes}))


def _release_folder() -> Path:
    """In the wheel the weights lie in the package; in a checkout they stand beside it."""
    inside = Path(__file__).parent / "_weights"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "weights"
