"""What confidence and sets promise, and whether it is kept on another collection: of answers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.calibration_error import CalibrationError, calibration_errors
from lungcls.evaluation.shares import GroupedShare
from lungcls.prediction import HIGH
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Row, Verdict
from lungcls.study.answers import Answers


@dataclass(frozen=True, eq=False)
class Promises:
    """What was measured of one collection or several.

    Attributes
    ----------
    rows : list of dict
        By collection (``set``): accuracy, ``tier_high_share`` and ``tier_high_accuracy``, ``coverage@...`` by
        class, ``ece`` (debiased; ``plain`` beside it, and ``p_of_chance``).
    margins : list of (Estimate, str)
        How far each promise is exceeded, below 0 where it is broken, and in words.
    """

    rows: list[Row]
    margins: list[tuple[Estimate, str]]

    @classmethod
    def of(cls, name: str, answers: Answers, sets: Mapping[float, NDArray[np.bool_]], seed: int) -> Promises:
        """Measure one collection.

        Parameters
        ----------
        name : str
            Of the collection.
        answers : Answers
            Calibrated.
        sets : mapping of float to bool array [N, K]
            Members of the sets, by the coverage that they were made for.
        seed : int
            Of the resamples behind the calibration error's interval.

        Notes
        -----
        Shares have Wilson's interval over independent films (`GroupedShare`). Nothing is judged on fewer than
        :data:`lungcls.shortcuts.rules.MIN_IMAGES` films.
        """
        rows: list[Row] = []
        margins: list[tuple[Estimate, str]] = []

        def share(
            figure: str, values: NDArray[np.bool_], chosen: NDArray[np.bool_] | None = None, label: str = ""
        ) -> Estimate:
            counted = GroupedShare.of(values, answers.groups, chosen)
            found = counted.estimate()
            row = {"set": name, "class": label, "figure": figure}
            rows.append({**row, **found.to_dict(), "n": counted.films})
            return found

        share("accuracy", answers.right)
        high = answers.probabilities.max(axis=1) >= HIGH
        told = share("tier_high_share", high)
        if int(high.sum()) >= rules.MIN_IMAGES:
            right = share("tier_high_accuracy", answers.right, high)
            films = f"answers of high confidence ({told.value:.0%} of films)"
            text = f"{name}: {films} are right in {rules.figure_words(right, 2)}"
            margins.append((rules.beyond(right, rules.TIER_ACCURACY), text))
        for asked, members in sets.items():
            inside = members[np.arange(len(answers.labels)), answers.labels]
            for k, label in enumerate(answers.classes):
                mine = answers.labels == k
                if int(mine.sum()) < rules.MIN_IMAGES:
                    continue
                held = share(f"coverage@{asked:g}", inside, mine, label)
                text = f"{name}: sets for {asked:.0%} hold {label} in {rules.figure_words(held, 2)}"
                margins.append((rules.beyond(held, asked - rules.SET_SHORTFALL), text))
        if len(answers.labels) >= rules.MIN_IMAGES:
            error = calibration_errors(
                answers.probabilities, answers.labels, answers.groups, answers.classes, seed=seed
            )["ece", ""]
            row = {"set": name, "class": "", "figure": "ece", **error.estimate.to_dict()}
            rows.append({**row, "n": len(answers.labels), "plain": error.plain, "p_of_chance": error.p})
            below = rules.turned(rules.beyond(error.estimate, rules.CALIBRATION))
            margins.append((below, f"{name}: {calibration_words(error)}"))
        return cls(rows, margins)

    def __add__(self, other: Promises) -> Promises:
        """Return what was measured of both."""
        return Promises(self.rows + other.rows, self.margins + other.margins)

    def verdict(self) -> tuple[Verdict, str]:
        """Judge all promises together, and say the three that are kept worst.

        Raises
        ------
        ValueError
            If there is no margin.
        """
        worst = sorted(self.margins, key=lambda one: one[0].value)[:3]
        asked = (
            f"asked: right at least {rules.TIER_ACCURACY:.0%}, sets for 90% hold a class in at least "
            f"{0.9 - rules.SET_SHORTFALL:.0%}, error at most {rules.CALIBRATION:g}"
        )
        verdict = rules.all_at_least([margin for margin, _ in self.margins], 0)
        return verdict, "; ".join([*(text for _, text in worst), asked])


def calibration_words(error: CalibrationError) -> str:
    """Write a debiased calibration error, its interval, and what perfect calibration would show."""
    return (
        f"calibration error {rules.figure_words(error.estimate)} with what chance adds taken off; perfect "
        f"calibration would show the plain {error.plain:.3f} or more with p = {error.p:.3f}"
    )
