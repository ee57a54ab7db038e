"""What evaluations, shortcut checks and ablations found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from lungcls.evaluation.bootstrap import Estimate, bootstrap_estimates, exact_share, group_resamples
from lungcls.evaluation.weighted import share
from lungcls.paper.evidence import Evidence
from lungcls.paper.fact import Fact, fact, interval
from lungcls.paper.sample_size import requirements

HEADLINES: Final = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "macro_auroc": "macro AUROC",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
PER_CLASS: Final = {
    "recall": "sensitivity",
    "precision": "positive predictive value",
    "f1": "F1",
    "auroc": "AUROC",
}


def result_facts(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    """Yield what was measured."""
    yield from _performance(evidence)
    yield from _trust(evidence)
    yield from _masks(evidence)
    yield from _by_source(evidence)
    yield from _sizes(evidence)
    yield from _external(evidence)
    yield from _shortcuts(evidence)
    yield from _ablation(evidence)


def _performance(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    metrics, judging = evidence.metrics, evidence.evaluation
    if judging is None or "overall" not in metrics:
        return
    path, content = judging.path, judging.content
    where = f"{metrics['n_images']:,} films of the part {content['part']} of {content['dataset']}"
    overall = metrics["overall"]
    values = ", ".join(
        f"{words} {interval(overall[name])}" for name, words in HEADLINES.items() if name in overall
    )
    yield "performance", fact(f"on {where}: {values}", path)
    # Weights that this one rests on may have seen the part through another split.
    if content["part"] == "test" and not evidence.card.training_data.get("other_splits"):
        yield "internal_testing", fact(f"tested on {where}, which took no part in training: {values}", path)
    bootstrap = content.get("bootstrap", {})
    yield (
        "uncertainty",
        fact(
            f"{metrics['level']:.0%} percentile intervals of a bootstrap by {bootstrap.get('by', 'group')}, "
            f"{metrics['n_resamples']:,} resamples of {metrics['n_groups']:,} groups, seed {metrics['seed']}",
            path,
        ),
    )
    yield (
        "measures",
        fact(
            "over all classes: "
            f"{', '.join(words for name, words in HEADLINES.items() if name in overall)}; by class: "
            f"{', '.join(PER_CLASS.values())}; confusion matrix"
            + ("; reliability diagram" if "trust" in metrics else "")
            + ("; ROC and decision curves" if evidence.answers else ""),
            path,
        ),
    )
    by_class = [
        f"{name} ({values['support']:,} films): "
        + ", ".join(f"{words} {interval(values[key])}" for key, words in PER_CLASS.items())
        for name, values in metrics["per_class"].items()
    ]
    yield "class_performance", fact("; ".join(by_class), path)
    if "majority_accuracy" in overall:
        yield (
            "majority",
            fact(
                f"always answering {metrics['majority_class']} would have an accuracy of "
                f"{interval(overall['majority_accuracy'])}",
                path,
            ),
        )
    counts, classes = metrics["confusion_matrix"]["counts"], metrics["classes"]
    rows = [
        f"{truth}: " + ", ".join(f"{count:,} as {said}" for said, count in zip(classes, row) if count)
        for truth, row in zip(classes, counts)
        if sum(row)
    ]
    yield "confusion", fact("; ".join(rows), path)
    wrong = sorted(
        (
            (row[j] / sum(row), row[j], truth, said)
            for i, (truth, row) in enumerate(zip(classes, counts))
            for j, said in enumerate(classes)
            if i != j and row[j]
        ),
        reverse=True,
    )
    if wrong:
        yield (
            "failures",
            fact(
                "most frequent errors: "
                + "; ".join(
                    f"{part:.1%} of {truth} called {said} ({count:,} films)"
                    for part, count, truth, said in wrong[:4]
                ),
                path,
            ),
        )
    else:
        yield "failures", fact("no film was answered wrongly", path)
    if evidence.answers is not None:
        yield (
            "stored_outputs",
            fact(
                f"logits, probabilities and sets of all {len(evidence.answers.content):,} judged films "
                "are kept",
                evidence.answers.path,
            ),
        )


def _trust(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    trust = evidence.metrics.get("trust")
    if not trust or evidence.evaluation is None:
        return
    before, after = (trust["calibration"][when]["overall"] for when in ("uncalibrated", "calibrated"))
    yield (
        "calibration_result",
        fact(
            f"temperature {trust['temperature']:.3f}: expected calibration error "
            f"{interval(before['ece'])} before, "
            f"{interval(after['ece'])} after; reliability diagram: figures/reliability.png",
            evidence.evaluation.path,
        ),
    )


def _masks(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    if evidence.evaluation is None:
        return
    for name, report in evidence.evaluation.content["reports"].items():
        if "dice_mean" in report.get("overall", {}):
            yield (
                "segmentation_performance",
                fact(
                    f"`{name}`: mean Dice {interval(report['overall']['dice_mean'], 4)} on "
                    f"{report['n_images']:,} films with lung "
                    f"masks, below {report['failure_below']} on "
                    f"{report['overall']['failure_rate']['value']:.1%}",
                    evidence.evaluation.path,
                ),
            )


def accuracy_by_source(evidence: Evidence) -> dict[tuple[str, str], tuple[Estimate, int]]:
    """Return the share of right answers by class and source, with its interval by group and its films."""
    judged = evidence.judged
    if judged is None or not any(evidence.sources):
        return {}
    labels = [judged.classes[index] for index in judged.labels]
    cells = np.asarray(
        [f"{label}\t{source or 'not known'}" for label, source in zip(labels, evidence.sources)]
    )
    by_source = {}
    for cell, films in sorted(Counter(cells.tolist()).items()):
        chosen = judged.of(cells == cell)
        resamples = group_resamples(chosen.groups, 1000, 0)
        statistic = share(chosen.right)
        estimate = bootstrap_estimates(lambda weights, s=statistic: {"right": s(weights)}, resamples)["right"]  # type: ignore[misc]
        label, source = cell.split("\t")
        by_source[label, source] = exact_share(estimate, resamples.n_groups), films
    return by_source


def _by_source(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    by_source = accuracy_by_source(evidence)
    if not by_source or evidence.answers is None:
        return
    words = [
        f"{label} from {source} {interval(estimate.to_dict())} of {films:,}"
        for (label, source), (estimate, films) in by_source.items()
    ]
    yield (
        "source_performance",
        fact(f"share of right answers by class and source: {'; '.join(words)}", evidence.answers.path),
    )


def _sizes(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    judged = evidence.judged
    if judged is None or evidence.answers is None or evidence.evaluation is None:
        return
    sizes = requirements(judged, areas(evidence.metrics))
    words = [
        f"{one.name}, {one.figure}: width {one.width_now:.2f} now, {one.width:g} would take "
        + ("more than a million" if one.needed is None else f"{one.needed:,} films")
        for one in sizes
        if one.width_now is not None
    ]
    if words:
        yield (
            "sample_size",
            fact(
                f"{len(judged):,} films are judged; width of 95% intervals (Riley 2021): {'; '.join(words)}",
                evidence.answers.path,
                evidence.evaluation.path,
            ),
        )
    yield "decision_curve", fact("net benefit by class: figures/decision_curve.png", evidence.answers.path)


def areas(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the area under the ROC curve of each class that has one."""
    by_class = {
        name: values.get("auroc", {}).get("value") for name, values in report.get("per_class", {}).items()
    }
    return {name: value for name, value in by_class.items() if value is not None}


def _external(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    words, files = [], []
    for one in evidence.external:
        report = one.content["reports"][evidence.card.name]
        overall = report["overall"]
        counts = dict(zip(report["classes"], map(sum, report["confusion_matrix"]["counts"])))
        films = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        words.append(
            f"on {one.content['dataset']} ({films}): accuracy {interval(overall['accuracy'])}, macro F1 "
            f"{interval(overall['macro_f1'])}"
            + ("; " + " ".join(one.content["notes"]) if one.content.get("notes") else "")
        )
        files.append(one.path)
    if words:
        yield "external_testing", fact("; ".join(words), *files)


def _shortcuts(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    if evidence.shortcuts is None:
        return
    content, path = evidence.shortcuts.content, evidence.shortcuts.path
    verdicts = "; ".join(
        f"{name.replace('_', ' ')}: {verdict}" for name, verdict in content["verdicts"].items()
    )
    yield (
        "robustness",
        fact(
            f"shortcut checks with rules fixed beforehand, on {content.get('images', '?')} films of the part "
            f"{content.get('part', '?')}: {verdicts}",
            path,
        ),
    )
    attention = [name for name in content["verdicts"] if "attention" in name or "cam" in name]
    if attention:
        yield (
            "shortcut_attention",
            fact(
                "; ".join(f"{name.replace('_', ' ')}: {content['verdicts'][name]}" for name in attention),
                path,
            ),
        )


def _ablation(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    if evidence.ablation is None:
        return
    content, path = evidence.ablation.content, evidence.ablation.path
    scores = [
        f"`{row['arm']}` {interval(row)}"
        for row in content["figures"]
        if row["metric"] == "macro_f1" and not row.get("class")
    ]
    yield (
        "ablation",
        fact(
            f"macro F1 of the same recipe ({content['recipe']['name']}) on parts of the image: "
            f"{'; '.join(scores)}",
            path,
        ),
    )
