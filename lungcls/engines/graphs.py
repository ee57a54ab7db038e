"""Which file an engine runs, and whether it belongs to the weights that its card names.

The released weights have an ONNX graph without weights beside them, which points into the ``.safetensors``
file; whatever ``lungcls export`` writes holds its own. Both carry a stamp, a line of text among their
metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lungcls.errors import WeightsError
from lungcls.weights import Card, checked_card, find_weights, load_card

STAMP = "lungcls.weights"
"""Key of the stamp among a file's metadata."""


def stamp(card: Card) -> str:
    """Return the line that says which weights and which normalisation a graph was made of."""
    return f"sha256 {card.sha256} mean {float(card.mean)!r} std {float(card.std)!r}"


def find_graph(weights: str | Path, task: str, suffixes: Sequence[str]) -> tuple[Card, Path]:
    """Find the file that an engine runs for some weights, and check it.

    Parameters
    ----------
    weights : str or path-like
        As :func:`lungcls.weights.find_weights` takes it. For a ``.safetensors`` file it is the ``.onnx`` file
        beside it.
    task : str
        What the weights must be for.
    suffixes : sequence of str
        What the engine runs, such as ``.onnx``.

    Raises
    ------
    WeightsError
        If there is no such file, it belongs to other weights, is for another task, or is damaged.
    """
    path = find_weights(weights)
    if path.suffix == ".safetensors":
        card, path = checked_card(path), path.with_suffix(".onnx")
    else:
        card = load_card(path)
    if card.task != task:
        raise WeightsError(f"{weights}: these weights are for {card.task}; expected weights for {task}")
    if path.suffix not in suffixes:
        raise WeightsError(f"{path}: this engine does not run it; expected a file {' or '.join(suffixes)}")
    if not path.is_file():
        raise WeightsError(
            f"{path}: the weights have no ONNX graph beside them, which this engine needs; make it with "
            f"`lungcls export {weights} --format onnx --share-weights`"
        )
    if stamp(card).encode() not in path.read_bytes():
        raise WeightsError(
            f"{path}: this file was made of other weights than its card names ({card.sha256[:12]}); make it "
            "again with `lungcls export`"
        )
    return card, path
