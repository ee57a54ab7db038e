"""Are probabilities as high as they are right, at home and abroad?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lungcls.audit.finding import (
    MIN_IMAGES,
    Finding,
    Row,
    interval,
    not_applicable,
)
from lungcls.audit.table import PredictionTable
from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.calibration import ECE_BINS, confidence_bins
from lungcls.evaluation.calibration_error import calibration_errors
from lungcls.evaluation.shares import GroupedShare
from lungcls.shortcuts.check import UNTOLD
from lungcls.shortcuts.promises import Promises, calibration_words
from lungcls.shortcuts.rules import CALIBRATION, at_most


def calibration(table: PredictionTable, title: str, seed: int) -> Finding:
    """Judge the debiased calibration error of the highest probability; each class's beside it."""
    answers = table.answers
    found = calibration_errors(
        answers.probabilities, answers.labels, answers.groups, answers.classes, seed=seed
    )
    rows: list[Row] = [
        {
            "figure": metric,
            "class": name,
            **interval(error.estimate, len(table)),
            "plain": error.plain,
            "p_of_chance": error.p,
        }
        for (metric, name), error in found.items()
    ]
    rows += _reliability(table)
    top = found["ece", ""]
    because = f"{calibration_words(top)}; limit {CALIBRATION:g}"
    return Finding("calibration", title, at_most(top.estimate, CALIBRATION), because, rows)


def _reliability(table: PredictionTable) -> list[Row]:
    answers = table.answers
    confidence = answers.probabilities.max(axis=1)
    place = confidence_bins(confidence)
    rows: list[Row] = []
    for index in np.unique(place).tolist():
        chosen = place == index
        said = float(confidence[chosen].mean())
        rows.append(
            {
                "figure": "accuracy",
                "films": f"confidence {index / ECE_BINS:.2f} to {(index + 1) / ECE_BINS:.2f}",
                "confidence": said,
                **interval(_share(table, answers.right, chosen), int(chosen.sum())),
            }
        )
    return rows


def _share(table: PredictionTable, right: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Estimate:
    return GroupedShare.of(right, table.answers.groups, chosen).estimate()


def abroad(externals: Mapping[str, PredictionTable], title: str, seed: int) -> Finding:
    """Judge confidence on other collections: the answers of high confidence, sets by class, calibration."""
    if not externals:
        return not_applicable("abroad", title, "no predictions on another collection were given (--external)")
    promises = Promises([], [])
    for name, table in externals.items():
        promises += Promises.of(name, table.answers, table.sets, seed)
    if not promises.margins:
        return Finding("abroad", title, UNTOLD, f"no collection has {MIN_IMAGES} films", promises.rows)
    return Finding("abroad", title, *promises.verdict(), promises.rows)
