"""Every question that predictions alone can answer, asked of one model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lungcls.audit.calibrated import abroad, calibration
from lungcls.audit.finding import interval, not_applicable
from lungcls.audit.leaks import leakage
from lungcls.audit.sets import set_coverage
from lungcls.audit.table import ATTRIBUTES, PredictionTable
from lungcls.evaluation.bootstrap import group_resamples
from lungcls.evaluation.weighted import Floats, estimate, macro_auroc, macro_f1, share
from lungcls.shortcuts.check import Finding, Row
from lungcls.shortcuts.dependence import dependence
from lungcls.shortcuts.gaps import recall_gaps
from lungcls.shortcuts.pairs import same_source_pairs
from lungcls.shortcuts.skew import skew
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
    resamples = group_resamples(answers.groups, n_resamples, seed)
    headline: list[Row] = [
        {"figure": name, **interval(estimate(statistic, resamples), len(table))}
        for name, statistic in (
            ("accuracy", share(answers.right)),
            ("macro-F1", macro_f1(answers.labels, answers.predicted, len(answers.classes))),
            ("macro AUROC", macro_auroc(answers.labels, answers.probabilities)),
        )
    ]
    findings = [
        *_of_columns(table, features, seed, n_resamples),
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


def _of_columns(
    table: PredictionTable, features: Floats | None, seed: int, n_resamples: int
) -> list[Finding]:
    """What is asked of the attributes of the films; the checks of a model ask it in the same way."""
    answers, columns = table.answers, {name: table.values(name) for name in table.columns}
    findings = []
    for column in dict.fromkeys([*ATTRIBUTES, *columns]):
        name, title = f"gap_{column}", TITLES.get(column, f"Recall between subgroups: {column}")
        if column in columns:
            findings.append(Finding(name, title, *recall_gaps(answers, columns[column], column)))
        else:
            findings.append(not_applicable(name, title, f"no column {column!r}"))
    if "source" in columns:
        told = same_source_pairs(answers, columns["source"], seed, n_resamples)
        findings.append(Finding("same_source", TITLES["same_source"], *told))
    else:
        findings.append(not_applicable("same_source", TITLES["same_source"], "no column 'source'"))
    if not columns:
        why = "nothing is known of these films (--manifest)"
        findings += [not_applicable(name, TITLES[name], why) for name in ("skew", "dependence")]
        return findings
    findings.append(Finding("skew", TITLES["skew"], *skew(answers, columns)))
    if features is None:
        why = "no features were given (--features)"
        findings.append(not_applicable("dependence", TITLES["dependence"], why))
    else:
        told = dependence(answers, columns, features, seed, n_resamples)
        findings.append(Finding("dependence", TITLES["dependence"], *told))
    return findings


__all__ = ["PredictionAudit", "audit_predictions"]
