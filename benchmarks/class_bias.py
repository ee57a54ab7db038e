"""What a bias by class, fitted with the temperature, is worth: on the validation part alone.

    python benchmarks/class_bias.py --data DIR --weights PATH...

DIR holds ``radiography``. PATH are classifiers that were trained with ``bias = "none"``, as those that are
released were before they got theirs (`lungcls calibrate --bias`). Temperature and biases are fitted on four
fifths of the validation part's groups and measured on the fifth, in turn. Writes
``results/class_bias.json`` and ``.csv``; `documents.py` puts the table into ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold

from lungcls.classifier import Classifier
from lungcls.data import open_radiography, split_dataset
from lungcls.evaluation.calibration import fit_bias, fit_temperature, softmax
from lungcls.evaluation.classification import classification_report
from lungcls.evaluation.results import write_results
from lungcls.finder import Finder
from lungcls.progress import bar
from lungcls.render.tables import format_table
from lungcls.study.study import Study
from lungcls.versions import versions

RESULTS = Path(__file__).parent / "results"
FOLDS = 5

Floats = npt.NDArray[np.float64]


def held_out(logits: Floats, labels: npt.NDArray[np.int64], groups: list[str], bias: bool) -> Floats:
    """Return the probabilities of each image by what was fitted on the other folds, [N, K]."""
    found = np.empty_like(logits)
    for fitted, measured in GroupKFold(FOLDS).split(logits, labels, groups):
        added = fit_bias(logits[fitted], labels[fitted]) if bias else np.zeros(logits.shape[1])
        temperature = fit_temperature(logits[fitted] + added, labels[fitted])
        found[measured] = softmax(logits[measured] + added, temperature)
    return found


def figures(
    name: str, classifier: Classifier, logits: Floats, labels: Any, groups: Any
) -> list[dict[str, Any]]:
    """The figures of a classifier with the temperature alone, and with a bias by class."""
    rows = []
    for fitted, bias in (("temperature", False), ("temperature and bias", True)):
        probabilities = held_out(logits, labels, groups, bias)
        report = classification_report(labels, probabilities, groups, classifier.card.classes).to_dict()
        for metric, text in (
            ("macro_f1", "macro-F1"),
            ("accuracy", "accuracy"),
            ("macro_auroc", "macro AUROC"),
            ("ece", "ECE"),
        ):
            rows.append({"model": name, "fitted": fitted, "metric": text, **report["overall"][metric]})
        nll = float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())
        rows.append({"model": name, "fitted": fitted, "metric": "nll", "value": nll})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--weights", nargs="+", required=True, help="classifiers without a bias by class")
    parser.add_argument("--cache", type=Path, help="folder of predicted masks")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LUNGCLS_DATA must name the folder that holds radiography")
    database = open_radiography(options.data)
    split = split_dataset(database, seed=0)
    rows: list[dict[str, Any]] = []
    weights: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        study = Study.open(
            database,
            Finder.load(device=options.device),
            split=split,
            part="validation",
            cache=options.cache or temporary,
            progress=bar,
        )
        for path in options.weights:
            classifier = Classifier.load(path, options.device)
            answers = study.answers(classifier, bar)
            weights[classifier.card.name] = classifier.card.sha256
            rows += figures(classifier.card.name, classifier, answers.logits, answers.labels, study.groups)
    payload = {
        "part": "validation",
        "folds": FOLDS,
        "split_seed": 0,
        "split_hash": split.hash,
        "weights": weights,
        "device": str(classifier.device),
        "versions": versions(),
        "command": "python benchmarks/class_bias.py --data DIR --weights PATH...",
        "rows": rows,
    }
    write_results(RESULTS, "class_bias", rows, payload)
    print(format_table(rows))


if __name__ == "__main__":
    main()
