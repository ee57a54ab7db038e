"""Check 3: are two classes told apart as well within one source as across sources?"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.weighted import Statistic, auroc, difference
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Row, joined
from lungcls.shortcuts.sample import Trial, interval


class SameSourcePairs(Check):
    """Measure how well pairs of classes are told apart within one source and across sources.

    A row a pair: the area under the ROC curve of the difference of the two classes' logits. Within one
    source where both classes have enough images of it; across, where two classes share no source.
    """

    name = "same_source_pairs"
    number = 3
    title = "Pairs of classes within one source, beside pairs that cross sources"
    limit = rules.SAME_SOURCE_AUROC
    plot_title = "AUROC of pairs of classes"

    def dot(self, row: Row) -> str | None:
        """As of a check."""
        return f"{row['pair']} ({row['source']})" if row["figure"] == "auroc" else None

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        classes = trial.subject.classes
        sources = np.asarray([record.source for record in trial.sample.records])
        scores = np.log(np.maximum(trial.probabilities, 1e-12))
        rows: list[dict[str, Any]] = []
        within: list[tuple[str, Statistic, NDArray[np.bool_], Estimate]] = []
        across: list[tuple[str, Statistic, NDArray[np.bool_], Estimate]] = []
        for a, b in itertools.combinations(range(len(classes)), 2):
            margin = scores[:, b] - scores[:, a]
            known = [Counter(sources[trial.labels == k].tolist()) for k in (a, b)]
            shared = [source for source in known[0] if source and known[1].get(source)]
            cases = [
                (source, (sources == source) & np.isin(trial.labels, [a, b]))
                for source in shared
                if min(counts[source] for counts in known) >= rules.MIN_IMAGES
            ]
            if not shared and all(
                sum(count for source, count in counts.items() if source) >= rules.MIN_IMAGES
                for counts in known
            ):
                cases.append(("", np.isin(trial.labels, [a, b]) & (sources != "")))
            for source, chosen in cases:
                statistic = auroc(margin, trial.labels == b)
                found = trial.estimate(_within(statistic, chosen))
                what = f"{classes[a]} / {classes[b]}"
                row = {"pair": what, "source": source or "crosses sources", "figure": "auroc"}
                rows.append({**row, **interval(found, int(chosen.sum()))})
                entry = (f"{what} within {source}" if source else what, statistic, chosen, found)
                (within if source else across).append(entry)
        if not within:
            because = (
                f"no pair of classes shares a source with {rules.MIN_IMAGES} images of each in this sample"
            )
            return self.untold(because, rows)
        worst = min(within, key=lambda entry: entry[3].value)
        verdicts = [rules.all_at_least([entry[3] for entry in within], rules.SAME_SOURCE_AUROC)]
        because = (
            f"weakest within one source: {worst[0]} with {worst[3].value:.2f} ({worst[3].low:.2f} to "
            f"{worst[3].high:.2f}; limit {rules.SAME_SOURCE_AUROC})"
        ) + rules.size_words(worst[3], rules.SAME_SOURCE_AUROC, int(worst[2].sum()))
        if across:
            best = max(across, key=lambda entry: entry[3].value)
            gap = trial.estimate(difference(_within(worst[1], worst[2]), _within(best[1], best[2])))
            rows.append(
                {
                    "pair": f"{best[0]} minus {worst[0]}",
                    "source": "",
                    "figure": "gap",
                    **interval(gap, len(trial.sample)),
                }
            )
            verdicts.append(rules.at_most(gap, rules.SAME_SOURCE_GAP))
            because += (
                f"; {best[0]}, which crosses sources, is told better by {gap.value:.2f} ({gap.low:.2f} to "
                f"{gap.high:.2f}; limit {rules.SAME_SOURCE_GAP})"
            )
        return self.finding(joined(verdicts), because, rows)


def _within(statistic: Statistic, chosen: NDArray[np.bool_]) -> Statistic:
    return lambda weights: statistic(weights * chosen)
