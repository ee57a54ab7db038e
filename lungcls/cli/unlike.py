"""Whether a folder of films is like those that a classifier was calibrated on, for ``lungcls predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungcls.cli.journal import Row
from lungcls.drift.reference import MIN_FILMS, FilmStatistics, beside
from lungcls.drift.statistics import as_columns, film_statistics
from lungcls.errors import DataError
from lungcls.prediction import Prediction

if TYPE_CHECKING:
    from lungcls.drift.compare import Drift
    from lungcls.streaming import Streaming


def numbers_of(prediction: Prediction) -> dict[str, float | None]:
    """Return the numbers of one film for its row, None where it has none."""
    return {
        name: round(value, 6) if np.isfinite(value) else None
        for name, value in film_statistics(prediction).items()
    }


def compared(rows: Sequence[Row], pipeline: Streaming) -> tuple[Drift | None, list[str]]:
    """Compare the films of a run with the reference beside the classifier's weights.

    Returns
    -------
    drift : Drift or None
        None where there is no reference, too few films, or answers of another kind (ensembles, test-time
        augmentation).
    warnings : list of str
        Sentences for whoever reads the answers.
    """
    answered = [row for row in rows if not row["error"] and row.get("label") and row.get("film")]
    if len(answered) < MIN_FILMS or len(pipeline.classifiers) > 1 or pipeline.lead.options.tta:
        return None, []
    card = pipeline.classifier.card
    named = pipeline.lead.options.classifier
    path = beside(named if isinstance(named, (str, Path)) else card.name)
    if path is None:
        return None, []
    try:
        reference = FilmStatistics.load(path)
    except DataError as error:
        return None, [f"The films were not compared with those of the calibration: {error}"]
    if (
        reference.about.get("weights") != card.sha256
        or reference.about.get("temperature") != card.temperature
    ):
        return None, [
            f"The films were not compared with those of the calibration: {path} is of other weights"
        ]
    try:
        from lungcls.drift.compare import compare
    except ModuleNotFoundError as error:
        return None, [f"The films were not compared with those of the calibration: that needs {error.name}"]
    new = FilmStatistics(
        card.classes,
        np.asarray([[row["probabilities"][name] for name in card.classes] for row in answered]),
        as_columns([_with_nan(row["film"]) for row in answered]),
    )
    drift = compare(reference, new)
    if drift.promised:
        return drift, []
    return drift, [
        f"These films are unlike those that {card.name} was calibrated on: {drift.because}. On them neither "
        "confidence nor sets keep what is promised (docs/drift.md)."
    ]


def mark(rows: Sequence[Row], drift: Drift | None) -> None:
    """Say in each row what of tier and set is promised; nothing where nobody looked."""
    if drift is None or drift.kind == "cannot tell":
        return
    words = "yes" if drift.promised else "no"
    for row in rows:
        if not row["error"] and row.get("label"):
            row["promised"] = words


def _with_nan(film: dict[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in film.items()}
