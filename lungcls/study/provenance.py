"""What reproduces a result, said in one form everywhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from lungcls.data.splits import Split
from lungcls.versions import versions
from lungcls.weights import Card


def provenance(
    cards: Iterable[Card] = (),
    split: Split | None = None,
    device: str | None = None,
    start: float | None = None,
) -> dict[str, Any]:
    """Return what reproduces a result.

    Parameters
    ----------
    cards : iterable of Card
        Of the weights behind it.
    split : Split, optional
    device : str, optional
        Where the networks ran.
    start : float, optional
        ``time.perf_counter()`` of the beginning.

    Returns
    -------
    dict
        ``weights`` (SHA-256 by name), ``split_hash``, ``versions``, and ``device`` and ``seconds`` where they
        are known; JSON-safe.
    """
    known: dict[str, Any] = {
        "weights": {card.name: card.sha256 for card in cards},
        "split_hash": split.hash if split else None,
        "versions": versions(),
    }
    if device is not None:
        known["device"] = device
    if start is not None:
        known["seconds"] = round(time.perf_counter() - start, 1)
    return known


def network_device(device: str) -> str:
    """Say on what hardware networks run: the name of the GPU, or the CPU and its threads."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} threads"
