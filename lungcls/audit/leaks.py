"""Do films, patients or groups of the training part return among the films that are judged on?"""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from lungcls.audit.finding import Finding, Row, interval, not_applicable
from lungcls.audit.table import PredictionTable
from lungcls.evaluation.bootstrap import Estimate
from lungcls.shortcuts.rules import LEAKED_SHARE, at_most

TRAINING = ("train", "training")
"""How manifests call the part that a model was trained on."""


def leakage(table: PredictionTable, title: str) -> Finding:
    """Look for films of the training part by patient, group and file name; pixels are not compared."""
    training = [row for row in table.manifest if row["part"].lower() in TRAINING]
    if not training:
        why = "nothing names the training part: a column 'part' with 'train' in the manifest, or --split"
        return not_applicable("leakage", title, why)
    own = {row["file"]: row for row in table.manifest}
    by_name = {PurePosixPath(row["file"]).name: row for row in table.manifest}
    mine = [own.get(file) or by_name[PurePosixPath(file).name] for file in table.answers.files]
    shared: dict[str, NDArray[np.bool_]] = {}
    rows: list[Row] = []
    for key, text in (("file", "file"), ("patient", "patient"), ("group", "group")):
        there = {row[key] for row in training} - {""}
        shared[text] = np.asarray([row[key] in there for row in mine], np.bool_)
        rows.append(
            {"figure": f"share with a {text} of the training part", **_share(shared[text], len(mine))}
        )
    crossing = np.any(list(shared.values()), axis=0)
    for k, label in enumerate(table.answers.classes):
        chosen = table.answers.labels == k
        if chosen.any():
            rows.append(
                {"figure": "share with any", "class": label, **_share(crossing[chosen], int(chosen.sum()))}
            )
    low, high = proportion_confint(int(crossing.sum()), len(mine), method="beta")
    found = Estimate(float(crossing.mean()), float(low), float(high))
    because = (
        f"{int(crossing.sum())} of {len(mine)} films share a file, patient or group with the training part "
        f"({low:.1%} to {high:.1%}; limit {LEAKED_SHARE:.0%}); copies under other names are found by "
        "`lungcls data audit`"
    )
    return Finding("leakage", title, at_most(found, LEAKED_SHARE), because, rows)


def _share(marks: NDArray[np.bool_], n: int) -> Row:
    low, high = proportion_confint(int(marks.sum()), n, method="beta")
    return interval(Estimate(float(marks.mean()), float(low), float(high)), n)
