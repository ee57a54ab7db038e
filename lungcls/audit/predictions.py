"""Every question that predictions alone can answer, asked of one model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lungcls.audit.calibrated import abroad, calibration
from lungcls.audit.dependence import dependence
from lungcls.audit.finding import estimate_of, interval
from lungcls.audit.gaps import recall_gaps, set_coverage
from lungcls.audit.leaks import leakage
from lungcls.audit.sources import same_source_pairs, skew
from lungcls.audit.table import ATTRIBUTES, PredictionTable
from lungcls.evaluation.weighted import Floats, macro_auroc, macro_f1, share
from lungcls.shortcuts.check import Finding, Row
from lungcls.study.provenance import provenance

TITLES: Final = {
    "processing": "Recall between processings, class by class",
    "same_source": "Classes told apart within one source",
    "skew": "Class and source made unrelated, then reversed",
    "dependence": "What the features know of source, age, sex and view",
    "leakage": "Training films among the judged",
    "calibration": "Probabilities as high as they are right",
    "sets": "Sets hold the true class, by class and subgroup",
    "abroad": "Confidence on other collections",
}


@dataclass(frozen=True, eq=False)
class PredictionAudit:
    """What predictions alone tell of one model.

    Attributes
    ----------
    name : str
        Of the model.
    headline : list of dict
        ``figure, value, low, high, n``: accuracy, macro-F1 and macro AUROC.
    findings : list of Finding
    payload : dict
        JSON-safe: all of it, and what reproduces it.
    """

    name: str
    headline: list[Row]
    findings: list[Finding]
    payload: dict[str, Any]


def audit_predictions(
    table: PredictionTable,
    *,
    features: Floats | None = None,
    externals: Mapping[str, PredictionTable] | None = None,
    seed: int = 0,
    n_resamples: int = 1000,
) -> PredictionAudit:
    """Ask of predictions whatever can be asked without pixels.

    Parameters
    ----------
    table : PredictionTable
    features : float array [N, F], optional
        Of the model, in the order of the predictions.
    externals : mapping of str to PredictionTable, optional
        Predictions on other collections, by name.
    seed : int, default=0
    n_resamples : int, default=1000
        Of the bootstrap by group.

    Returns
    -------
    PredictionAudit
    """
    start = time.perf_counter()
    answers = table.answers
    headline: list[Row] = [
        {
            "figure": name,
            **interval(estimate_of(statistic, answers.groups, seed, n_resamples), len(table)),
        }
        for name, statistic in (
            ("accuracy", share(answers.right)),
            ("macro-F1", macro_f1(answers.labels, answers.predicted, len(answers.classes))),
            ("macro AUROC", macro_auroc(answers.labels, answers.probabilities)),
        )
    ]
    others = [name for name in table.columns if name not in ATTRIBUTES]
    findings = [
        *(
            recall_gaps(table, name, TITLES.get(name, f"Recall between subgroups: {name}"))
            for name in ("processing", "source", "age", "sex", "view", "device", *others)
        ),
        same_source_pairs(table, TITLES["same_source"], seed, n_resamples),
        skew(table, TITLES["skew"], seed, n_resamples),
        dependence(table, features, TITLES["dependence"], seed, n_resamples),
        leakage(table, TITLES["leakage"]),
        calibration(table, TITLES["calibration"], seed),
        set_coverage(table, TITLES["sets"]),
        abroad(externals or {}, TITLES["abroad"], seed),
    ]
    counts = {name: int((answers.labels == k).sum()) for k, name in enumerate(answers.classes)}
    payload = {
        "model": answers.name,
        "images": len(table),
        "groups": len({group or file for group, file in zip(answers.groups, answers.files)}),
        "classes": counts,
        "columns": sorted(table.columns),
        "externals": {name: len(other) for name, other in (externals or {}).items()},
        "headline": headline,
        "verdicts": {finding.name: finding.verdict for finding in findings},
        "findings": [finding.to_dict() for finding in findings],
        "bootstrap": {"resamples": n_resamples, "seed": seed, "by": "group"},
        **provenance([], None, None, start),
    }
    return PredictionAudit(answers.name, headline, findings, payload)


__all__ = ["PredictionAudit", "audit_predictions"]
