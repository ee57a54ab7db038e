"""An audit as one HTML page that needs no other file: the verdict first, then tables and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcls.audit.finding import CALIBRATION
from lungcls.audit.predictions import PredictionAudit
from lungcls.render.drawing import COLOURS, figure_url, new_figure
from lungcls.render.html import write_page
from lungcls.shortcuts.check import FAIL, NOT_APPLICABLE, PASS, UNTOLD, Finding
from lungcls.shortcuts.page import findings_plot
from lungcls.shortcuts.plots import dots
from lungcls.shortcuts.rules import PROCESSING_GAP, SAME_SOURCE_AUROC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDER = (FAIL, UNTOLD, PASS)
_MOST = 40


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
    rows = [row for row in finding.rows if row.get("value") is not None]
    if finding.name.startswith("gap_"):
        shown = [row for row in rows if row["figure"] == "gap"][:_MOST]
        column = finding.name.removeprefix("gap_")
        return _dots(
            shown,
            [f"{row['class']}: {row[column]}" for row in shown],
            PROCESSING_GAP,
            "Gap of recall; 95% for all of them together",
        )
    if finding.name == "same_source":
        shown = rows[:_MOST]
        return _dots(
            shown, [f"{row['pair']}, {row['source']}" for row in shown], SAME_SOURCE_AUROC, "AUROC of a pair"
        )
    if finding.name == "calibration":
        return _reliability([row for row in rows if row["figure"] == "accuracy"])
    return findings_plot(finding)


def _dots(rows: list[dict[str, Any]], labels: list[str], limit: float, title: str) -> Figure | None:
    return dots(rows, labels, limit, title) if rows else None


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
