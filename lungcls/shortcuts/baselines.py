"""Checks C, D and O: what a model is worth beside references that look for no disease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lungcls.evaluation.bootstrap import Estimate
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row
from lungcls.shortcuts.references import (
    FRAME,
    OUTLINE,
    REFERENCES,
    STATISTICS,
    pairs_of_classes,
    within_sources,
)
from lungcls.shortcuts.sample import Trial, interval

_NONE = (
    f"no pair of classes shares a source with {rules.MIN_IMAGES} images of each in this sample; the column "
    "source of the manifest names it"
)


class _AboveReferences(Check):
    """The model beside references, for each pair of classes within one source."""

    references: tuple[str, ...]
    margin: float

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['pair']} ({row['source']}): {row['reference']}" if row["figure"] == "above" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        pairs = within_sources(trial)
        if not pairs:
            return self.untold(_NONE)
        rows: list[dict[str, Any]] = []
        judged: list[tuple[Estimate, str, int]] = []
        barred = []
        for pair in pairs:
            row, n = {"pair": pair.name, "source": pair.source}, int(pair.chosen.sum())
            model = pair.of_model()
            rows.append({**row, "reference": "", "figure": "auroc of the model", **interval(model, n)})
            for reference in self.references:
                told, above = pair.told(reference), pair.above(reference)
                if told is None or above is None:
                    continue
                rows.append({**row, "reference": reference, "figure": "auroc", **interval(told, n)})
                rows.append({**row, "reference": reference, "figure": "above", **interval(above, n)})
                what = f"{pair.words}: {model.value:.2f} against {told.value:.2f} of the {reference}"
                if told.value >= rules.UNTESTABLE_AUROC:
                    barred.append(f"{pair.words} ({told.value:.2f} by the {reference})")
                else:
                    judged.append((above, what, n))
        left = f"not judged, since no model could show it there: {'; '.join(barred)}" if barred else ""
        if not judged:
            return self.untold(left or _NONE, rows)
        verdict = rules.all_at_least([above for above, _, _ in judged], self.margin)
        worst, what, n = min(judged, key=lambda one: one[0].value)
        because = (
            f"weakest: {what}, {worst.value:+.2f} ({worst.low:+.2f} to {worst.high:+.2f}; at least "
            f"{self.margin:+.2f} is asked for){rules.size_words(worst, self.margin, n)}"
        )
        return self.finding(verdict, "; ".join([because, *([left] if left else [])]), rows)


class AboveStatistic(_AboveReferences):
    """Compare a model with a learner on numbers of the lungs that hold no place.

    A row a pair within one source: the area under the ROC curve of the model, that of the reference on grey
    levels, sharpness, compression and geometry (:func:`lungcls.data.statistics.lung_statistics`),
    cross-fitted by group on these films, and the difference under the same resamples.
    """

    name = "above_statistic"
    number = "C"
    title = "Better than numbers of the lungs without places, within one source"
    limit = rules.ABOVE_STATISTIC
    plot_title = "AUROC above that of the statistics"
    references = (STATISTICS,)
    margin = rules.ABOVE_STATISTIC


class AboveFrame(_AboveReferences):
    """Compare a model with a learner on what holds no lung: the frame of the film, and the outline.

    Rows as of check C. Where the frame tells two classes of one source, "only the disease differs" is not
    true of them.
    """

    name = "above_frame"
    number = "O"
    title = "Better than the frame and the outline, within one source"
    limit = rules.ABOVE_FRAME
    plot_title = "AUROC above that of frame and outline"
    references = (FRAME, OUTLINE)
    margin = rules.ABOVE_FRAME


class UntestablePairs(Check):
    """Find the pairs of classes that this data cannot test: told without looking for a disease.

    A row a pair, over all films and within each source, and reference (statistics of the lungs, frame,
    outline, source alone): the area under the ROC curve, and whether the pair is barred from headlines. It
    is about the data; no model is asked.
    """

    name = "untestable_pairs"
    number = "D"
    title = "Pairs of classes that are told without looking for a disease"
    limit = rules.UNTESTABLE_AUROC
    plot_title = "AUROC of what is no disease"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['pair']} ({row['source'] or 'all'}): {row['reference']}"

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        rows: list[dict[str, Any]] = []
        figures: list[Estimate] = []
        barred: dict[str, list[str]] = {}
        for pair in pairs_of_classes(trial):
            best, by = 0.0, ""
            for reference in REFERENCES:
                told = pair.told(reference)
                if told is None:
                    continue
                figures.append(told)
                is_barred = told.value >= rules.UNTESTABLE_AUROC
                rows.append(
                    {
                        "pair": pair.name,
                        "source": pair.source,
                        "reference": reference,
                        "figure": "auroc",
                        **interval(told, int(pair.chosen.sum())),
                        "barred": is_barred,
                    }
                )
                if told.value > best:
                    best, by = told.value, reference
            if best >= rules.UNTESTABLE_AUROC:
                where = f"within {pair.source}" if pair.source else "all films"
                barred.setdefault(pair.name, []).append(f"{where} {best:.2f} by {by}")
        if not figures:
            return self.untold(f"no pair of classes has {rules.MIN_IMAGES} images of each in this sample")
        verdict = rules.all_at_most(figures, rules.UNTESTABLE_AUROC)
        words = "; ".join(f"{name} ({', '.join(where)})" for name, where in barred.items())
        because = f"barred from headlines: {words}" if words else "no pair is told so well"
        because += f"; limit {rules.UNTESTABLE_AUROC}"
        return self.finding(verdict, because, rows)


def barred_pairs(findings: Sequence[Finding]) -> list[str]:
    """Return the pairs, as ``A / B`` or ``A / B within source``, that check D bars from headlines."""
    names: dict[str, None] = {}
    for finding in findings:
        if finding.name != UntestablePairs.name:
            continue
        for row in finding.rows:
            if row["barred"]:
                names[f"{row['pair']} within {row['source']}" if row["source"] else row["pair"]] = None
    return list(names)
