"""The answers of the released classifiers on the test part, and what a table made of them states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lungcls.study.provenance import provenance

RESULTS = Path(__file__).parent / "results"
ANSWERS = RESULTS / "released_weights_radiography_answers.csv"
MODELS = ("classifier-mask", "classifier-crop", "classifier-full")
SEED, RESAMPLES = 0, 2000


def released() -> dict[str, Any]:
    """Return what ``released_weights.py`` wrote beside the answers."""
    stated: dict[str, Any] = json.loads((RESULTS / "released_weights_radiography.json").read_text("utf-8"))
    return stated


def stated(rows: list[dict[str, Any]], command: str, start: float, **more: Any) -> dict[str, Any]:
    """Return a result file's content: the rows, whose answers they are of, and how they were made."""
    source = released()
    return {
        "rows": rows,
        **more,
        "part": source["part"],
        "split_hash": source["split_hash"],
        "weights": source["weights"],
        "seed": SEED,
        "resamples": RESAMPLES,
        **provenance(start=start),
        "command": command,
    }
