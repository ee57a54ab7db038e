"""Are probabilities as high as they are right, at home and abroad?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lungcls.audit.finding import (
    CALIBRATION,
    MIN_IMAGES,
    Finding,
    Row,
    interval,
    not_applicable,
    words,
)
from lungcls.audit.table import PredictionTable
from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.calibration import ECE_BINS, confidence_bins
from lungcls.evaluation.calibration_error import CalibrationError, calibration_errors
from lungcls.evaluation.shares import GroupedShare
from lungcls.prediction import HIGH
from lungcls.shortcuts.check import UNTOLD, Verdict, joined
from lungcls.shortcuts.rules import SET_COVERAGE, TIER_ACCURACY, at_least, at_most


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
    because = f"{_error_words(top)}; limit {CALIBRATION:g}"
    return Finding("calibration", title, at_most(top.estimate, CALIBRATION), because, rows)


def _error_words(error: CalibrationError) -> str:
    found = error.estimate
    return (
        f"calibration error {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) with what chance adds "
        f"taken off; perfect calibration would show the plain {error.plain:.3f} or more "
        f"with p = {error.p:.3f}"
    )


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
    rows: list[Row] = []
    judged: list[tuple[Verdict, str]] = []
    for name, table in externals.items():
        answers = table.answers
        everything = np.ones(len(table), np.bool_)
        rows.append(
            {
                "set": name,
                "figure": "accuracy",
                **interval(_share(table, answers.right, everything), len(table)),
            }
        )
        high = answers.probabilities.max(axis=1) >= HIGH
        if int(high.sum()) >= MIN_IMAGES:
            found = _share(table, answers.right, high)
            rows.append(
                {"set": name, "figure": "accuracy of high confidence", **interval(found, int(high.sum()))}
            )
            text = (
                f"{name}: answers of high confidence ({high.mean():.0%} of films) are right in {words(found)}"
            )
            judged.append((at_least(found, TIER_ACCURACY), text))
        for asked, held in table.sets.items():
            inside = held[np.arange(len(table)), answers.labels]
            for k, label in enumerate(answers.classes):
                mine = answers.labels == k
                if int(mine.sum()) < MIN_IMAGES:
                    continue
                found = _share(table, inside, mine)
                rows.append(
                    {
                        "set": name,
                        "figure": f"coverage@{asked:g}",
                        "class": label,
                        **interval(found, int(mine.sum())),
                    }
                )
                text = f"{name}: sets for {asked:.0%} hold {label} in {words(found)}"
                judged.append((at_least(found, asked - (0.9 - SET_COVERAGE)), text))
        error = calibration_errors(
            answers.probabilities, answers.labels, answers.groups, answers.classes, seed=seed
        )
        top = error["ece", ""]
        rows.append({"set": name, "figure": "ece", **interval(top.estimate, len(table))})
        judged.append((at_most(top.estimate, CALIBRATION), f"{name}: {_error_words(top)}"))
    verdict = joined([each[0] for each in judged])
    shown = [text for each, text in judged if each == verdict][:3]
    because = (
        f"{'; '.join(shown)}; asked: right at least {TIER_ACCURACY:.0%}, held at least {SET_COVERAGE:.0%}, "
        f"error at most {CALIBRATION:g}"
    )
    return Finding("abroad", title, verdict if judged else UNTOLD, because, rows)
