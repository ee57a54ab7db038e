"""Which file an engine runs, and whether it is whole and belongs to the weights that its card names.

The released weights have an ONNX graph without weights beside them, which points into the ``.safetensors``
file; whatever ``lungcls export`` writes holds its own. Both carry a stamp, a line of text among their
metadata, and the card has the hash of every file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lungcls.errors import WeightsError
from lungcls.weights import Card, check_file, checked_card, find_weights, load_card

STAMP = "lungcls.weights"
"""Key of the stamp among a file's metadata."""


def stamp(card: Card) -> str:
    """Return the line that says which weights and which normalisation a graph was made of."""
    return f"sha256 {card.sha256} mean {float(card.mean)!r} std {float(card.std)!r}"


def find_graph(weights: str | Path, task: str, suffixes: Sequence[str]) -> tuple[Card, Path]:
    """Find the file that an engine runs for some weights, and check every byte that the engine will read.

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
        If there is no such file, it belongs to other weights, is for another task, is damaged, or points to
        files that it should not.
    """
    path = find_weights(weights)
    card = load_card(path)
    if path.suffix == ".safetensors":
        path = path.with_suffix(".onnx")
    if card.task != task:
        raise WeightsError(f"{weights}: these weights are for {card.task}; expected weights for {task}")
    if path.suffix not in suffixes:
        raise WeightsError(f"{path}: this engine does not run it; expected a file {' or '.join(suffixes)}")
    if not path.is_file():
        raise WeightsError(
            f"{path}: the weights have no ONNX graph beside them, which this engine needs; make it with "
            f"`lungcls export {weights} --format onnx --share-weights`"
        )
    content = b""
    for part in [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]:
        check_file(part, card)
        content = content or part.read_bytes()
    if stamp(card).encode() not in content:
        raise WeightsError(
            f"{path}: this file was made of other weights than its card names ({card.sha256[:12]}); make it "
            "again with `lungcls export`"
        )
    if path.suffix == ".onnx":
        _check_external(path, content)
    return card, path


# A key of a tensor's external data as protobuf writes it, and its value: two fields, each with its length.
_KEY = b"\x0a\x08location\x12"


def _check_external(path: Path, content: bytes) -> None:
    """Check the weights that a graph leaves outside, and refuse a graph that points anywhere else.

    The light install has no ONNX parser. So whatever might be a location must be written as lungcls writes
    it and name the ``.safetensors`` file beside the graph.
    """
    beside = path.with_suffix(".safetensors")
    ours = _KEY + bytes([len(beside.name.encode()) & 0x7F]) + beside.name.encode()
    mentioned = content.count(b"location")
    if not mentioned:
        return
    if len(beside.name.encode()) > 0x7F or content.count(ours) != mentioned:
        raise WeightsError(
            f"{path}: this graph points to other files than {beside.name}, which is refused; make it again "
            "with `lungcls export --share-weights`"
        )
    if beside.is_symlink():
        raise WeightsError(f"{beside}: the weights of a graph must not be a link; put the file itself there")
    checked_card(beside)
