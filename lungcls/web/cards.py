"""Model cards as rows of text: what the cards hold varies with the task and with who trained the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lungcls.weights import Card


def card_rows(card: Card) -> list[tuple[str, str]]:
    """Return what a reader of the page wants to know of a card, by name."""
    return list(_rows(card))


def missed(card: Card) -> dict[str, float]:
    """Return the share of each class's validation images that the classifier takes for another class."""
    shares = {}
    for name, values in _validation(card, "per_class").items():
        recall = _estimate(values, "recall")
        if recall is not None:
            shares[name] = 1 - recall[0]
    return shares


def _rows(card: Card) -> Iterator[tuple[str, str]]:
    size = card.input_size
    yield "Network", f"{card.architecture.get('model', 'unknown')}, {size} x {size} pixels"
    yield "Classes", ", ".join(card.classes)
    data = card.training_data
    if data.get("dataset"):
        yield "Data", str(data["dataset"])
    images = data.get("images")
    for part, counts in (images if isinstance(images, Mapping) else {}).items():
        text = _counts(counts) if isinstance(counts, Mapping) else f"{counts}"
        yield f"Images, {part}", text
    if data.get("split_hash"):
        yield "Split", str(data["split_hash"])
    for name in _validation(card, "overall"):
        if estimate := _estimate(_validation(card, "overall"), name):
            yield f"Validation: {name.replace('_', ' ')}", _interval(estimate)
    for name, values in _validation(card, "per_class").items():
        estimates = ((key, _estimate(values, key)) for key in ("recall", "precision"))
        texts = [f"{key} {_interval(estimate)}" for key, estimate in estimates if estimate]
        if texts:
            yield f"Validation: {name}", ", ".join(texts)
    yield "Licence", card.licence
    yield "SHA-256", card.sha256


def _validation(card: Card, part: str) -> Mapping[str, Any]:
    validation = card.metrics.get("validation")
    values = validation.get(part) if isinstance(validation, Mapping) else None
    return values if isinstance(values, Mapping) else {}


def _estimate(values: Any, name: str) -> tuple[float, float | None, float | None] | None:
    numbers = values.get(name) if isinstance(values, Mapping) else None
    if not isinstance(numbers, Mapping) or not isinstance(numbers.get("value"), (int, float)):
        return None
    return float(numbers["value"]), numbers.get("low"), numbers.get("high")


def _interval(estimate: tuple[float, float | None, float | None]) -> str:
    value, low, high = estimate
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _counts(counts: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {number:,}" if isinstance(number, int) else name for name, number in counts.items()
    )
