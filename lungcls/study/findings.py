"""A multi-label classifier's answers to the films of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lungcls.answering import Answerer
from lungcls.classifier import Classifier, finding_probabilities
from lungcls.evaluation.multilabel import FindingsReport, Targets, finding_targets, findings_report
from lungcls.progress import Progress, quiet
from lungcls.study.study import Study, check_classes
from lungcls.weights import Card


@dataclass(frozen=True, eq=False)
class FindingAnswers:
    """What a multi-label classifier said of each film of a study, and what is there.

    Attributes
    ----------
    study : Study
    card : Card
        Of the classifier; its calibration is not in `logits`.
    logits : float64 array [N, K]
    targets : int64 array [N, K]
        1 where a finding is there, 0 where it is not, -1 where nobody knows.
    fallback : bool array [N]
        Whether the whole film stood in, for want of two lungs.
    """

    study: Study
    card: Card
    logits: npt.NDArray[np.float64]
    targets: Targets
    fallback: npt.NDArray[np.bool_]

    @property
    def accepted(self) -> npt.NDArray[np.bool_]:
        """Whether the gate accepts each film, [N]: prediction gives the others no findings."""
        return np.asarray([film.quality.accepted for film in self.study.films], np.bool_)

    def report(self, card: Card | None = None, chosen: npt.NDArray[np.bool_] | None = None) -> FindingsReport:
        """Measure the answers, under another calibration or of some of the films alone.

        Raises
        ------
        DataError
            If no film is left.
        """
        kept = np.ones(len(self.logits), np.bool_) if chosen is None else chosen
        groups = [group for group, keep in zip(self.study.groups, kept.tolist()) if keep]
        return findings_report(
            card or self.card, self.logits[kept], self.targets[kept], groups,
            n_resamples=self.study.n_resamples, seed=self.study.seed,
        )  # fmt: skip

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a row a film: what is there, what is said, what the gate did, probabilities and logits."""
        card, rows = self.card, []
        probabilities = finding_probabilities(self.logits, card)
        films = zip(self.study.records, self.study.films, self.study.groups, strict=True)
        for index, (record, film, group) in enumerate(films):
            chances = dict(zip(card.classes, probabilities[index].tolist()))
            said = [name for name, chance in chances.items() if chance >= card.thresholds.get(name, 0.5)]
            rows.append(
                {
                    "model": card.name,
                    "file": record.file,
                    "group": group,
                    "source": record.source,
                    "findings": ";".join(sorted(set(record.findings) & set(card.classes))),
                    "unknown": ";".join(sorted(set(record.unknown) & set(card.classes))),
                    "predicted": ";".join(said),
                    "accepted": int(film.quality.accepted),
                    "corrected": int(bool(film.quality.corrected)),
                    "fallback": int(self.fallback[index]),
                    "reasons": ";".join(reason.name for reason in film.quality.reasons),
                    **{name: float(f"{chance:.8g}") for name, chance in chances.items()},
                    **{f"logit_{n}": v for n, v in zip(card.classes, self.logits[index].round(4).tolist())},
                }
            )
        return rows


def ask_findings(
    study: Study, classifier: Classifier | Answerer, progress: Progress[Any] = quiet
) -> FindingAnswers:
    """Ask a multi-label classifier, as prediction asks it.

    Parameters
    ----------
    study : Study
        Of a dataset with findings.
    classifier : Classifier or Answerer
    progress : callable, optional

    Returns
    -------
    FindingAnswers

    Raises
    ------
    ImageError
        If an image cannot be read.
    DataError
        If the classifier gives one class a film, or findings that the dataset does not know.
    """
    answerer = classifier if isinstance(classifier, Answerer) else Answerer(classifier)
    card = answerer.classifier.card
    check_classes(study.dataset, study.records, card)
    logits, whole = study.logits(answerer, progress)
    return FindingAnswers(study, card, logits, finding_targets(study.records, card.classes), whole)
