"""How far the released classifiers can be believed: calibration, conformal sets, tiers, and what doubt tells.

    python benchmarks/trust.py --data DIR

Temperature and conformal scores are fitted on the validation part as ``lungcls calibrate`` does, then
measured on the test part, with test-time augmentation and as an ensemble too. Writes under
``benchmarks/results/``:

- ``trust_choice``: conformal scores compared on the validation part alone (fitted on one half of its groups,
  measured on the other, many times);
- ``trust``: all figures on the test part;
- ``trust_answers.csv``: logits, spread and disagreement of every test image, to compute them again.

The table in ``benchmarks/README.md`` is made of ``trust.json``; ``--table`` only writes it anew. ``--quick``
takes 120 images of each part and writes ``trust-quick*`` and no table, to see that all runs.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from marks import between_marks
from numpy.typing import NDArray

from lungcls.classifier import Classifier
from lungcls.conformal import SCORES, in_set, merged_p_values, p_values
from lungcls.data import open_radiography, split_dataset
from lungcls.data.dataset import Record
from lungcls.evaluation.bootstrap import bootstrap_estimates, group_resamples
from lungcls.evaluation.calibration import softmax
from lungcls.evaluation.classification import classification_metrics, weighted_auroc
from lungcls.evaluation.conformal import COVERAGES, conformal_metrics, fit_conformal
from lungcls.evaluation.recalibrate import calibrated, calibration_data
from lungcls.evaluation.results import write_csv, write_results
from lungcls.evaluation.trust import doubts, trust_report
from lungcls.finder import Finder
from lungcls.lungs import Lungs
from lungcls.prediction import HIGH, MODERATE, TIERS
from lungcls.progress import bar
from lungcls.render.tables import format_table, markdown_table
from lungcls.study.study import Study, view_logits, views_for
from lungcls.uncertainty import MAX_ANGLE, MAX_SCALE, MAX_SHIFT, changed_views, disagreement
from lungcls.versions import versions
from lungcls.weights import Card

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parent / "README.md"
SEED = 0
HALVES = 50
Floats = NDArray[np.float64]


def choice(
    probabilities: Floats, labels: NDArray[np.int64], groups: list[str], classes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Compare conformal scores, by class and pooled: mean figures over random halves of the groups."""
    codes = group_resamples(groups, 0).codes
    rng = np.random.default_rng(SEED)
    halves = [rng.permutation(codes.max() + 1)[codes] % 2 == 0 for _ in range(HALVES)]
    rows = []
    for score in SCORES:
        for by_class in (True, False):
            found: dict[tuple[float, str, str], list[float]] = {}
            for fit in halves:
                rest = ~fit
                stored = fit_conformal(
                    probabilities[fit],
                    labels[fit],
                    codes[fit].tolist(),
                    classes,
                    score=score,
                    by_class=by_class,
                )
                fits = p_values(probabilities[rest], stored, classes)
                for coverage in COVERAGES:
                    sets = in_set(fits, coverage)
                    figures = conformal_metrics(labels[rest], sets, np.ones((1, len(sets))), classes)
                    figures["empty", ""] = np.asarray([(sets.sum(axis=1) == 0).mean()])
                    for (metric, name), value in figures.items():
                        found.setdefault((coverage, metric, name), []).append(float(value[0]))
            rows += [
                {
                    "score": score,
                    "calibrated": "by class" if by_class else "pooled",
                    "asked": coverage,
                    "metric": metric,
                    "class": name,
                    "value": float(np.nanmean(values)),
                    "low": float(np.nanquantile(values, 0.025)),
                    "high": float(np.nanquantile(values, 0.975)),
                }
                for (coverage, metric, name), values in found.items()
            ]
    return rows


def compare(
    ways: dict[str, Floats],
    plain: str,
    labels: NDArray[np.int64],
    groups: list[str],
    card: Card,
    resamples: int,
) -> list[dict[str, Any]]:
    """Figures of several ways [M, N, K] to answer, and their differences from the plain one, paired."""
    means = {name: members.mean(axis=0) for name, members in ways.items()}
    wrong = {name: mean.argmax(axis=1) != labels for name, mean in means.items()}
    doubt = {name: doubts(mean) for name, mean in means.items()}
    for name, members in ways.items():
        if len(members) > 1:
            label = means[name].argmax(axis=1)
            doubt[name]["spread"] = members.std(axis=0)[np.arange(len(label)), label]
            doubt[name]["disagreement"] = disagreement(members)

    def statistics(weights: Floats) -> dict[tuple[str, str], Floats]:
        figures: dict[tuple[str, str], Floats] = {}
        for name, mean in means.items():
            found = classification_metrics(labels, mean, weights, card.classes)
            for metric in ("macro_f1", "accuracy", "ece", "nll"):
                figures[name, metric] = found[metric, ""]
            for what, value in doubt[name].items():
                figures[name, f"error_auroc_{what}"] = weighted_auroc(value, wrong[name], weights)
        for name in means:
            if name != plain:
                for metric in ("macro_f1", "accuracy", "ece", "nll", "error_auroc_max_probability"):
                    figures[name, f"{metric}_gain"] = figures[name, metric] - figures[plain, metric]
        return figures

    estimates = bootstrap_estimates(statistics, group_resamples(groups, resamples, SEED))
    return [
        {"model": name, "metric": metric, "class": "", **estimate.to_dict(), "n": len(labels)}
        for (name, metric), estimate in estimates.items()
        # The rest of the plain way's figures are in its report.
        if name != plain or metric in ("macro_f1", "accuracy")
    ]


def merged_sets(
    fits: list[Floats], labels: NDArray[np.int64], groups: list[str], card: Card, resamples: int
) -> list[dict[str, Any]]:
    """Coverage and size of an ensemble's sets."""
    merged = merged_p_values(fits)

    def statistics(weights: Floats) -> dict[tuple[str, str], Floats]:
        figures = {}
        for coverage in COVERAGES:
            found = conformal_metrics(labels, in_set(merged, coverage), weights, card.classes)
            figures |= {(f"conformal_{m}@{coverage:g}", name): value for (m, name), value in found.items()}
        return figures

    estimates = bootstrap_estimates(statistics, group_resamples(groups, resamples, SEED))
    return [
        {"model": "ensemble", "metric": metric, "class": name, **estimate.to_dict()}
        for (metric, name), estimate in estimates.items()
    ]


def run(options: argparse.Namespace, cache: Path) -> None:
    """Measure and write."""
    start = time.perf_counter()
    database = open_radiography(options.data)
    split = split_dataset(database, seed=SEED)
    parts = {
        part: _some(split.select(database.records, part), options.images) for part in ("validation", "test")
    }
    finder = Finder.load(options.segmenter, device=options.device)
    studies = {
        part: Study.open(
            database,
            finder,
            records=records,
            split=split,
            part=part,
            cache=cache,
            seed=SEED,
            n_resamples=options.resamples,
            progress=bar,
        )
        for part, records in parts.items()
    }
    groups = {part: study.groups for part, study in studies.items()}
    choices: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    reports: dict[str, Any] = {}
    members: dict[str, Floats] = {}
    fits = []
    cards: list[Card] = []
    for name in options.classifier:
        classifier = Classifier.load(name, options.device)
        on_validation = studies["validation"].answers(classifier, bar)
        scores = on_validation.logits, on_validation.labels, groups["validation"]
        card = calibrated(classifier.card, *scores, calibration_data(studies["validation"]))
        probabilities = softmax(on_validation.logits, card.temperature)
        choices += [
            {"model": card.name, **row}
            for row in choice(probabilities, on_validation.labels, groups["validation"], card.classes)
        ]

        plain, augmented = _test_logits(classifier, studies["test"].films, options.tta)
        labels = studies["test"].labels(card)
        report = trust_report(plain, labels, groups["test"], card, n_resamples=options.resamples, seed=SEED)
        reports[card.name] = report.to_dict()
        rows += [{"model": card.name, **row} for row in report.to_rows()]
        rows += [
            {"model": card.name, "metric": f"{metric}_calibrated", "class": of, **estimate.to_dict()}
            for (metric, of), estimate in report.calibration["calibrated"].items()
        ]
        members[card.name] = softmax(np.stack([plain, *augmented]), card.temperature)
        fits.append(p_values(members[card.name][0], card.conformal, card.classes))
        cards.append(card)
        ways = {card.name: members[card.name][:1], f"{card.name}, tta {options.tta}": members[card.name]}
        rows += compare(ways, card.name, labels, groups["test"], card, options.resamples)
        answers += _answers(card, parts["test"], groups["test"], plain, members[card.name])
    if len(cards) > 1:
        together = np.stack([members[card.name][0] for card in cards])
        best = cards[-1].name
        ways = {best: together[-1:], "ensemble": together}
        own = compare(ways, best, labels, groups["test"], cards[0], options.resamples)
        rows += [row for row in own if row["model"] == "ensemble"]
        rows += merged_sets(fits, labels, groups["test"], cards[0], options.resamples)
    about = {
        "dataset": database.title,
        "images": {part: len(records) for part, records in parts.items()},
        "split_hash": split.hash,
        "weights": {card.name: card.sha256 for card in (finder.segmenter.card, *cards)},
        "seed": SEED,
        "bootstrap": {"resamples": options.resamples, "by": "group"},
        "halves": HALVES,
        "tiers": {"high": HIGH, "moderate": MODERATE},
        "tta": {"views": options.tta, "shift": MAX_SHIFT, "scale": MAX_SCALE, "degrees": MAX_ANGLE},
        "ensemble": {"members": [card.name for card in cards], "gain_over": cards[-1].name},
        "device": finder.segmenter.device,
        "versions": versions(),
        "seconds": round(time.perf_counter() - start, 1),
    }
    stem = "trust-quick" if options.quick else "trust"
    write_results(options.out, f"{stem}_choice", choices, {**about, "rows": choices})
    write_results(options.out, stem, rows, {**about, "reports": reports, "rows": rows})
    write_csv(options.out, f"{stem}_answers", answers)
    print(format_table([row for row in choices if row["asked"] == 0.9 and not row["class"]]))
    print(format_table([row for row in rows if not row["class"]]))


def table() -> str:
    """Make the document's table from the result file; nothing where it was never written."""
    path = RESULTS / "trust.json"
    if not path.is_file():
        return ""
    content = json.loads(path.read_text(encoding="utf-8"))
    figures = {(row["model"], row["metric"], row["class"]): row for row in content["rows"]}
    tta = content["tta"]["views"]
    models = content["ensemble"]["members"]
    rows = []

    def row(what: str, metric: str, name: str = "", suffix: str = "") -> None:
        # Percentiles of a calibration error are no interval of it; benchmarks/calibration_errors.py has one.
        plain = "ece" in metric
        found = [figures[model + suffix, metric, name] for model in models]
        cells = [_cell({**one, "low": None} if plain else one) for one in found]
        rows.append([what, *cells])

    for metric in ("ece", "classwise_ece", "brier", "nll"):
        row(f"{metric}, uncalibrated", f"{metric}_uncalibrated")
        row(f"{metric}, calibrated", f"{metric}_calibrated")
    classes = sorted({name for _, _, name in figures if name})
    for coverage in COVERAGES:
        row(f"sets at {coverage:g}: coverage", f"conformal_coverage@{coverage:g}")
        for name in classes:
            row(f"of {name}", f"conformal_coverage@{coverage:g}", name)
        row("mean set size", f"conformal_set_size@{coverage:g}")
        if (models[0], f"conformal_empty@{coverage:g}", "") in figures:
            row("empty but for the most probable class", f"conformal_empty@{coverage:g}")
    for tier in TIERS:
        row(f"tier {tier}: share of images", f"tier_{tier}_share")
        row(f"tier {tier}: accuracy", f"tier_{tier}_accuracy")
    for name in ("max_probability", "margin", "entropy"):
        row(f"AUROC of telling errors by {name}", f"error_auroc_{name}")
    for name in ("spread", "disagreement"):
        row(f"by {name} over {tta} changed views", f"error_auroc_{name}", suffix=f", tta {tta}")
    for metric in ("macro_f1", "ece", "nll"):
        row(f"{metric}: gain by {tta} changed views", f"{metric}_gain", suffix=f", tta {tta}")
    lines = [
        markdown_table(["what", *(f"`{name}`" for name in models)], rows),
        "",
        f"{content['images']['test']:,} images of the split `{content['split_hash']}`, in brackets the 95% "
        f"interval of {content['bootstrap']['resamples']:,} resamples by group (seed {content['seed']}); "
        f"{content['device']}, torch {content['versions']['torch']}.",
    ]
    if ("ensemble", "macro_f1", "") in figures:
        lines.append(_ensemble(figures, content))
    return "\n".join(lines)


def _ensemble(figures: dict[tuple[str, str, str], Any], content: dict[str, Any]) -> str:
    def cell(metric: str) -> str:
        return _cell(figures["ensemble", metric, ""])

    return (
        f"The ensemble of {' and '.join(content['ensemble']['members'])}: macro-F1 {cell('macro_f1')}, "
        f"{cell('macro_f1_gain')} more than {content['ensemble']['gain_over']} alone; errors are told by its "
        f"max_probability with an AUROC of {cell('error_auroc_max_probability')}, by its disagreement with "
        f"{cell('error_auroc_disagreement')}; its sets at 0.9 cover {cell('conformal_coverage@0.9')} with a "
        f"mean size of {cell('conformal_set_size@0.9')}."
    )


def _cell(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    text = f"{row['value']:.3f}"
    return text if row["low"] is None else f"{text} [{row['low']:.3f}, {row['high']:.3f}]"


def with_table(text: str) -> str:
    """Return the document's text with the table put between its two marks."""
    return between_marks(text, "trust", table())


def _test_logits(
    classifier: Classifier,
    lungs: list[Lungs],
    tta: int,
) -> tuple[Floats, list[Floats]]:
    """Logits of the plain views, and of each change of them."""
    views = views_for(classifier, lungs, bar)
    changed = [view_logits(classifier, changed_views(views, number), progress=bar) for number in range(tta)]
    return view_logits(classifier, views, progress=bar), changed


def _answers(
    card: Card, records: list[Record], groups: list[str], logits: Floats, members: Floats
) -> list[dict[str, Any]]:
    spread, doubt, mean = members.std(axis=0), disagreement(members), members.mean(axis=0)
    return [
        {
            "model": card.name,
            "file": record.file,
            "group": groups[index],
            "label": record.label,
            **{f"logit_{name}": round(float(value), 4) for name, value in zip(card.classes, logits[index])},
            **{f"tta_{name}": round(float(value), 6) for name, value in zip(card.classes, mean[index])},
            "tta_spread": round(float(spread[index, mean[index].argmax()]), 6),
            "tta_disagreement": round(float(doubt[index]), 6),
        }
        for index, record in enumerate(records)
    ]


def _some(records: list[Record], count: int | None) -> list[Record]:
    if count is None or count >= len(records):
        return records
    chosen = np.random.default_rng(SEED).choice(len(records), count, replace=False)
    return [records[index] for index in sorted(chosen)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument(
        "--classifier",
        action="append",
        help="released name or path; may be repeated (mask and full by default)",
    )
    parser.add_argument("--segmenter", default="segmenter")
    parser.add_argument("--tta", type=int, default=4, help="changed views")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cache", type=Path, help="folder for predicted masks")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only write the document's table from the file")
    parser.add_argument("--quick", action="store_true", help="120 images of each part, 2 changed views")
    options = parser.parse_args()
    if not options.table:
        if options.data is None:
            parser.error("--data or LUNGCLS_DATA must name the folder that holds radiography")
        options.classifier = options.classifier or ["classifier-mask", "classifier-full"]
        options.images = None
        if options.quick:
            options.images, options.tta = 120, min(options.tta, 2)
            options.resamples = min(options.resamples, 100)
        with tempfile.TemporaryDirectory() as temporary:
            run(options, options.cache or Path(temporary))
    if options.out == RESULTS and not options.quick:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
