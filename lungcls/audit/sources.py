"""Does the figure rest on which class comes from where? Pairs within a source, and skew taken away."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from lungcls.audit.finding import (
    MIN_IMAGES,
    Finding,
    estimate_of,
    interval,
    not_applicable,
    words,
)
from lungcls.audit.table import PredictionTable
from lungcls.evaluation.bootstrap import Estimate
from lungcls.evaluation.weighted import Floats, Statistic, auroc, macro_f1
from lungcls.shortcuts.check import UNTOLD, Verdict, joined
from lungcls.shortcuts.rules import SAME_SOURCE_AUROC, SKEW_DROP, at_least, at_most


def same_source_pairs(table: PredictionTable, title: str, seed: int, n_resamples: int) -> Finding:
    """Tell each pair of classes apart within one source, and across sources beside it.

    Within a source, what tells the source cannot help. What else differs between the classes there (how a
    film was taken, how old its patient is) still can.
    """
    name = "same_source"
    sources = table.values("source")
    if not (sources != "").any():
        return not_applicable(name, title, "no column 'source' is known of these films")
    answers = table.answers
    scores, rows = answers.logits, []
    judged: list[tuple[Verdict, Estimate, str]] = []
    crossing = []
    for one, two in itertools.combinations(range(len(answers.classes)), 2):
        pair = f"{answers.classes[one]} / {answers.classes[two]}"
        within = 0
        for source in (*sorted(set(sources.tolist()) - {""}), ""):
            mine = [(answers.labels == k) & ((sources == source) | (source == "")) for k in (one, two)]
            if min(int(chosen.sum()) for chosen in mine) < MIN_IMAGES:
                continue
            at = np.flatnonzero(mine[0] | mine[1])
            statistic = auroc(scores[at, one] - scores[at, two], mine[0][at])
            groups = [answers.groups[i] for i in at]
            found = estimate_of(statistic, groups, seed, n_resamples)
            rows.append(
                {"figure": "auroc", "pair": pair, "source": source or "all", **interval(found, len(at))}
            )
            if source:
                within += 1
                judged.append((at_least(found, SAME_SOURCE_AUROC), found, f"{pair} in {source}"))
        if not within:
            crossing.append(pair)
    untold = (
        f"; no source has both of {', '.join(crossing)}: these pairs cannot be judged" if crossing else ""
    )
    if not judged:
        why = f"no source has {MIN_IMAGES} films of each of two classes{untold}"
        return Finding(name, title, UNTOLD, why, rows)
    _, worst, text = min(judged, key=lambda each: each[1].value)
    because = (
        f"lowest AUROC within a source: {text} {words(worst)}; at least {SAME_SOURCE_AUROC:g} asked{untold}"
    )
    return Finding(name, title, joined([each[0] for each in judged]), because, rows)


def skew(table: PredictionTable, title: str, seed: int, n_resamples: int) -> Finding:
    """Weigh the films so that class and subgroup are unrelated, then so that their relation is reversed."""
    answers, rows = table.answers, []
    judged: list[tuple[Verdict, Estimate, str]] = []
    plain = macro_f1(answers.labels, answers.predicted, len(answers.classes))
    for column in table.columns:
        for way, weights in _reweighted(answers.labels, table.values(column)).items():
            changed = _under(plain, weights)
            counted = _under(plain, (weights > 0).astype(np.float64))

            def drop(drawn: Floats, counted: Statistic = counted, changed: Statistic = changed) -> Floats:
                return counted(drawn) - changed(drawn)

            found = estimate_of(drop, answers.groups, seed, n_resamples)
            effective = int(weights.sum() ** 2 / np.square(weights).sum())
            rows.append({"figure": "macro_f1_drop", "by": column, "films": way, **interval(found, effective)})
            judged.append((at_most(found, SKEW_DROP), found, f"{column}, {way}"))
    if not judged:
        why = f"no class has {MIN_IMAGES} films in each of two subgroups: there is nothing to weigh"
        return not_applicable("skew", title, why)
    _, worst, text = max(judged, key=lambda each: each[1].value)
    because = f"macro-F1 lost at most: {text}, {words(worst)}; limit {SKEW_DROP:g}"
    return Finding("skew", title, joined([each[0] for each in judged]), because, rows)


def _under(statistic: Statistic, weights: Floats) -> Statistic:
    return lambda drawn: statistic(drawn * weights)


def _reweighted(labels: NDArray[np.int64], values: NDArray[np.str_]) -> dict[str, Floats]:
    """Weights [N] by what they do, 0 in cells with too few films. None where no class has two cells."""
    names = sorted(set(values.tolist()) - {""})
    cells = {
        (k, name): chosen
        for k in np.unique(labels).tolist()
        for name in names
        if int((chosen := (labels == k) & (values == name)).sum()) >= MIN_IMAGES
    }
    by_class: dict[int, list[str]] = {}
    for k, name in cells:
        by_class.setdefault(k, []).append(name)
    if not any(len(own) > 1 for own in by_class.values()):
        return {}
    shares = {name: float((values == name).mean()) for name in names}
    weights = {"unrelated": np.zeros(len(labels)), "reversed": np.zeros(len(labels))}
    for k, own in by_class.items():
        counts = {name: int(cells[k, name].sum()) for name in own}
        wanted = {
            "unrelated": {name: shares[name] for name in own},
            "reversed": {name: 1 / counts[name] for name in own},
        }
        for way, target in wanted.items():
            for name in own:
                share = target[name] / sum(target.values())
                weights[way][cells[k, name]] = share * sum(counts.values()) / counts[name]
    return weights
