"""All checks of one model on one study."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lungcls.explanation.maps import backend
from lungcls.progress import timed
from lungcls.shortcuts.abroad import TrustAbroad
from lungcls.shortcuts.attention import Attention
from lungcls.shortcuts.baselines import AboveFrame, AboveStatistic, UntestablePairs, barred_pairs
from lungcls.shortcuts.blanked import LungsBlanked, OutlineAlone
from lungcls.shortcuts.check import CHECKS, Audit, Check, Finding, choose_checks, register_check
from lungcls.shortcuts.dependence import Dependence
from lungcls.shortcuts.external import External
from lungcls.shortcuts.harmonised import HarmonisedLungs, SignatureTransplant
from lungcls.shortcuts.hidden import GrowingBox
from lungcls.shortcuts.leakage import Leakage
from lungcls.shortcuts.pairs import SameSourcePairs
from lungcls.shortcuts.parts import RegionDecomposition
from lungcls.shortcuts.pasted import PastedObjects
from lungcls.shortcuts.processing import Processing
from lungcls.shortcuts.robustness import Robustness
from lungcls.shortcuts.sample import Trial
from lungcls.shortcuts.shuffled import ShuffledLungs
from lungcls.shortcuts.skew import SkewReversal
from lungcls.shortcuts.source import SourcePrediction
from lungcls.shortcuts.subject import ClassifierSubject, FeatureSubject, Subject
from lungcls.shortcuts.swap import BackgroundSwap
from lungcls.shortcuts.trained import LabelShuffle, LeakageTrained, LeaveOneSourceOut, ProcessingTrained
from lungcls.study.provenance import provenance
from lungcls.study.study import Study

logger = logging.getLogger(__name__)

for _check in (
    BackgroundSwap(),
    SourcePrediction(),
    SameSourcePairs(),
    LeaveOneSourceOut(),
    Leakage(),
    LeakageTrained(),
    Robustness(),
    RegionDecomposition(),
    Processing(),
    LabelShuffle(),
    ProcessingTrained(),
    Attention(),
    External(),
    LungsBlanked(),
    OutlineAlone(),
    AboveStatistic(),
    UntestablePairs(),
    HarmonisedLungs(),
    ShuffledLungs(),
    SignatureTransplant(),
    PastedObjects(),
    TrustAbroad(),
    Dependence(),
    GrowingBox(),
    SkewReversal(),
    AboveFrame(),
):
    register_check(_check)


@dataclass(frozen=True, eq=False)
class Examination:
    """What the checks found of one model.

    Attributes
    ----------
    name : str
        Of the model.
    checks : list of Finding
    payload : dict
        JSON-safe: the verdicts, all figures, and what reproduces them.
    """

    name: str
    checks: list[Finding]
    payload: dict[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """Return every figure as one row: ``model, check, verdict`` and the check's own columns."""
        return [
            {"model": self.name, "check": check.name, "verdict": check.verdict, **row}
            for check in self.checks
            for row in check.rows
        ]


def examine(
    subject: Subject, study: Study, *, checks: Sequence[str] = (), audit: Audit | None = None
) -> Examination:
    """Examine a model.

    Parameters
    ----------
    subject : Subject
    study : Study
        Of films that the model was not trained on; the training part of its split is compared with them.
        Films without a usable mask, or of classes that the model does not know, are left out and counted.
    checks : sequence of str
        Names or numbers, as :func:`lungcls.shortcuts.check.choose_checks` takes them; by default all.
    audit : Audit, optional
        What checks are given beside the films. With ``trainings``, those that need them train.

    Returns
    -------
    Examination
        A check that ends with an error is in it as one that cannot tell, with the error as its reason.

    Raises
    ------
    DataError
        If a check is unknown or no image is left.
    ImageError
        If an image cannot be read.
    MissingExtraError
        If the packages of the extra ``explain`` are missing, which check 9 needs.
    """
    start, audit = time.perf_counter(), audit or Audit()
    chosen = choose_checks(checks, audit.trainings is not None)
    if isinstance(subject, FeatureSubject) and any(check.name == Attention.name for check in chosen):
        backend("hirescam")  # a missing package is told before minutes of work, not after
    with timed(audit.tell, f"{subject.name}: {len(study)} films read"):
        trial = Trial.open(subject, study, audit.progress, audit.memory)
    fewer = trial.drawn(audit.films_per_change)
    findings = []
    for place, check in enumerate(chosen, start=1):
        began = time.perf_counter()
        asked = fewer if check.costly else trial
        found = _run(check, asked, audit)
        if len(asked.sample) < len(trial.sample) and found.verdict != "not applicable":
            words = f"; asked on {len(asked.sample):,} of {len(trial.sample):,} films, drawn by class"
            found = replace(found, because=found.because + words)
        findings.append(found)
        audit.tell(
            f"{place}/{len(chosen)} {found.title}: {found.verdict}, {len(asked.sample)} films, "
            f"{time.perf_counter() - began:.0f} s"
        )
    card = subject.card if isinstance(subject, ClassifierSubject) else None
    payload = {
        "model": subject.name,
        "region": subject.region.to_dict(),
        **study.about(),
        "images": len(trial.sample),
        "left_out": len(study) - len(trial.sample),
        "notes": study.notes(card) if card else [],
        "accuracy": float(trial.right.mean()),
        "recipe": audit.trainings.recipe.to_dict() if audit.trainings else None,
        "barred": barred_pairs(findings),
        "verdicts": {finding.name: finding.verdict for finding in findings},
        "checks": [finding.to_dict() for finding in findings],
        **provenance([], study.split, str(getattr(subject, "device", "?")), start),
        "weights": card.sha256 if card else None,
    }
    return Examination(subject.name, findings, payload)


def _run(check: Check, trial: Trial, audit: Audit) -> Finding:
    """Run one check; what it fails with, whatever a user's model throws, becomes its finding."""
    try:
        return check.run(trial, audit)
    except Exception as error:
        logger.exception("the check %s ended with an error", check.name)
        text = " ".join(str(error).split())
        return check.untold(f"the check ended with {type(error).__name__}: {text}; the others are untouched")


__all__ = ["CHECKS", "Examination", "examine"]
