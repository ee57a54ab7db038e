"""An audit as one HTML page that needs no other file: the verdict first, then tables and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcls.audit.predictions import PredictionAudit
from lungcls.render.drawing import COLOURS, figure_url, new_figure
from lungcls.render.html import write_page
from lungcls.shortcuts.check import FAIL, NOT_APPLICABLE, PASS, UNTOLD, Finding
from lungcls.shortcuts.rules import CALIBRATION
from lungcls.shortcuts.suite import CHECKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDER = (FAIL, UNTOLD, PASS)
_MOST = 40
_CHECKS = {"same_source": "same_source_pairs", "skew": "skew_reversal"}
"""Questions by the check that asks the same of a model, and draws it."""


def write_audit(
    path: str | Path, audit: PredictionAudit, images: Sequence[Finding] = (), notes: Sequence[str] = ()
) -> Path:
    """Write the page.

    Parameters
    ----------
    path : path-like
    audit : PredictionAudit
    images : sequence of Finding, optional
        What the checks of pixels found; their pictures, which are parts of X-rays, are left out, so that the
        page can be attached to a paper.
    notes : sequence of str, optional
        What to know before reading it.

    Returns
    -------
    Path

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    findings = [*images, *audit.findings]
    counts = Counter[str](finding.verdict for finding in findings)
    return write_page(
        path,
        "audit.html",
        title=f"Audit of {audit.name}",
        about=audit.payload,
        headline=audit.headline,
        findings=[finding for kind in ORDER for finding in findings if finding.verdict == kind],
        not_asked=[finding for finding in findings if finding.verdict == NOT_APPLICABLE],
        counts=[(verdict, counts[verdict]) for verdict in (*ORDER, NOT_APPLICABLE) if counts[verdict]],
        verdict_line=_in_one_line(findings),
        notes=list(notes),
        plot=_plot,
    )


def _in_one_line(findings: Sequence[Finding]) -> str:
    failed = [finding.title for finding in findings if finding.verdict == FAIL]
    untold = sum(finding.verdict == UNTOLD for finding in findings)
    if failed:
        return f"{len(failed)} of {len(findings)} questions speak against the model"
    if untold:
        return f"Nothing was found against the model; {untold} of {len(findings)} questions cannot be told"
    return "Nothing was found against the model by the questions below"


def _plot(finding: Finding) -> str | None:
    figure = _figure(finding)
    return None if figure is None else figure_url(figure)


def _figure(finding: Finding) -> Figure | None:
    if finding.name == "calibration":
        return _reliability([row for row in finding.rows if row["figure"] == "accuracy"])
    name = "processing" if finding.name.startswith("gap_") else _CHECKS.get(finding.name, finding.name)
    check = CHECKS.get(name)
    if check is None:
        return None
    # Devices may be hundreds: those with the largest figures are drawn, all are in the table.
    shown = [row for row in finding.rows if row.get("value") is not None and check.dot(row) is not None]
    largest = sorted(shown, key=lambda row: -row["value"])[:_MOST]
    return check.plot([row for row in finding.rows if row not in shown or row in largest])


def _reliability(rows: list[dict[str, Any]]) -> Figure | None:
    if not rows:
        return None
    figure = new_figure(5, 4.4)
    axes = figure.add_subplot()
    said, right = [row["confidence"] for row in rows], [row["value"] for row in rows]
    below = [max(0.0, row["value"] - row["low"]) for row in rows]
    above = [max(0.0, row["high"] - row["value"]) for row in rows]
    axes.plot([0, 1], [0, 1], color="#999999", lw=1, ls="--")
    axes.fill_between(
        [0, 1], [-CALIBRATION, 1 - CALIBRATION], [CALIBRATION, 1 + CALIBRATION], color="#999999", alpha=0.2
    )
    axes.errorbar(said, right, yerr=[below, above], fmt="o-", ms=4, capsize=2, color=COLOURS[0])
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share of right answers")
    axes.set_title("Reliability; 95% intervals, a group as one film", fontsize=9)
    return figure
