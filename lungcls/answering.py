"""Stage 2 as the pipeline asks it: lungs in, predictions out, with the rules for what is doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from lungcls.classifier import Classifier
from lungcls.conformal import p_values
from lungcls.errors import LungMaskError, RejectedError
from lungcls.labels import NO_FINDING
from lungcls.lungs import Lungs
from lungcls.prediction import Failure, Prediction
from lungcls.uncertainty import changed_views, disagreement
from lungcls.weights import Card

Floats: TypeAlias = npt.NDArray[np.float64]
OnBadMask: TypeAlias = Literal["whole", "refuse"]
OnReject: TypeAlias = Literal["flag", "raise", "abstain"]


@dataclass(frozen=True)
class Answerer:
    """A classifier, the classifier that stands in for it, and what to do where something is wrong.

    Parameters
    ----------
    classifier : Classifier
    fallback : Classifier or None
        Of whole films and the same classes: it answers where the region needs two lungs that were not found.
        None lets `classifier` itself answer, on the whole film.
    on_bad_mask, on_reject, tta, coverage
        As :class:`lungcls.Pipeline` takes them.
    """

    classifier: Classifier
    fallback: Classifier | None = None
    on_bad_mask: OnBadMask = "whole"
    on_reject: OnReject = "flag"
    tta: int = 0
    coverage: float | None = 0.9

    def answer(self, lungs: Sequence[Lungs]) -> list[Prediction | Failure]:
        """Classify films whose lungs were found.

        Parameters
        ----------
        lungs : sequence of Lungs
            One batch.

        Returns
        -------
        list of Prediction or Failure
            In the order of the films; a Failure where one is refused.
        """
        results: dict[int, Prediction | Failure] = {}
        plain: list[int] = []
        whole: list[int] = []
        for place, one in enumerate(lungs):
            refusal = refused(one, self.on_reject) or self._refused_for_mask(one)
            if refusal:
                results[place] = refusal
            else:
                (plain if self._region_fits(one) else whole).append(place)
        for places, classifier in ((plain, self.classifier), (whole, self.fallback or self.classifier)):
            if places:
                results |= zip(places, self._classify(classifier, [lungs[place] for place in places]))
        return [results[place] for place in range(len(lungs))]

    def _region_fits(self, lungs: Lungs) -> bool:
        return lungs.region(self.classifier.region) == self.classifier.region

    def _refused_for_mask(self, lungs: Lungs) -> Failure | None:
        if self.on_bad_mask != "refuse" or self._region_fits(lungs):
            return None
        reasons = "; ".join(reason.message for reason in lungs.quality.reasons)
        message = (
            f"{lungs.path}: refused, {reasons}. The region {self.classifier.region.name!r} needs both lungs; "
            "on_bad_mask='whole' lets the whole image stand in"
        )
        return Failure(lungs.path, LungMaskError(message))

    def _classify(self, classifier: Classifier, lungs: Sequence[Lungs]) -> list[Prediction]:
        """What one classifier says of films."""
        card = classifier.card
        views = np.stack([one.view(classifier.region, card.input_size, card.tone) for one in lungs])
        changed = (changed_views(views, number) for number in range(self.tta))
        # One pass a change, so that memory does not grow with their number.
        members = np.stack([classifier.probabilities(each) for each in (views, *changed)])
        # The scores were calibrated on plain views: those of changed ones would not keep the coverage.
        fit = p_values(members[0], card.conformal, card.classes) if card.conformal else None
        # Of findings: of each by itself, there or not, and the mean of all.
        doubt = (
            disagreement(np.stack([members, 1 - members], axis=-1)).mean(axis=-1)
            if card.multilabel
            else disagreement(members)
        )
        predictions = []
        for index, (one, row) in enumerate(zip(lungs, members.mean(axis=0))):
            fallback = not self._region_fits(one)
            predictions.append(
                Prediction(
                    lungs=one.without_pixels(),
                    label=None if self._withholds(one) else _label(card, row),
                    probabilities=dict(zip(card.classes, row.tolist())),
                    region=one.region(classifier.region).name,
                    fallback=fallback,
                    view=views[index],
                    classifier=card.name,
                    p_values=None if fit is None else dict(zip(card.classes, fit[index].tolist())),
                    coverage=None if fit is None else self.coverage,
                    spread=self._by_class(card.classes, members[:, index].std(axis=0)),
                    disagreement=float(doubt[index]) if self.tta else None,
                    findings=_findings(card, row) if card.multilabel else None,
                )
            )
        return predictions

    def _by_class(self, classes: Sequence[str], values: Any) -> dict[str, float] | None:
        return dict(zip(classes, values.tolist())) if self.tta else None

    def _withholds(self, lungs: Lungs) -> bool:
        return not lungs.quality.accepted or (self.on_reject == "abstain" and not lungs.quality.ok)


def _findings(card: Card, row: Floats) -> tuple[str, ...]:
    """The findings of one film whose probability reaches their threshold."""
    return tuple(n for n, value in zip(card.classes, row.tolist()) if value >= card.thresholds.get(n, 0.5))


def _label(card: Card, row: Floats) -> str:
    if card.multilabel:
        return "|".join(_findings(card, row)) or NO_FINDING
    return card.classes[int(row.argmax())]


def refused(lungs: Lungs, on_reject: OnReject) -> Failure | None:
    """Return the failure of a film with which something is wrong, where that is to be raised."""
    quality = lungs.quality
    if on_reject != "raise" or quality.ok:
        return None
    reasons = "; ".join(
        f"{reason.name} ({reason.message}: {reason.value:.3g}, threshold {reason.threshold:.3g})"
        for reason in quality.reasons
        if not reason.corrected
    )
    message = f"{lungs.path}: rejected, {reasons}. on_reject='flag' answers all the same and says so"
    return Failure(lungs.path, RejectedError(message))
