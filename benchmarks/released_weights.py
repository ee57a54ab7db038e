"""The released weights on the test part and on other collections.

    python benchmarks/released_weights.py --data DIR

DIR holds ``radiography`` and, where present, ``montgomery`` and ``shenzhen`` (lung masks drawn by people),
``covid-chestxray-dataset`` and ``coronahack`` (classes; without copies of films that were trained on). Writes
one JSON and one CSV file a set under ``benchmarks/results/``, the table into ``benchmarks/README.md``, three
rows into ``README.md`` and the model card with its pictures into ``weights/``; ``--table`` only writes these
anew from the files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from marks import between_marks

from lungcls.progress import bar
from lungcls.render.tables import markdown_table
from lungcls.weights import released

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
from release.card import model_card, write_model_card
from release.measure import write_release

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent.parent / "README.md"
TABLES = Path(__file__).parent / "README.md"
WEIGHTS = Path(__file__).parent.parent / "weights"
HEADINGS = ("what", "on", "images", "value (95% interval)")
EXTERNAL = ("montgomery", "shenzhen")
"""Other collections with lung masks, drawn by people."""
OTHER_CLASSES = ("covid-chestxray-dataset", "coronahack")
"""Other collections with classes."""
ABOUT = """\
This is a reduced copy of the database, with masks and images of COVID-QU-Ex (Tahir 2021) and RSNA. Near
duplicates and known patients do not cross the split, but copies of which an edge was cut off can:
`benchmarks/trimmed_copies.py` measures what they are worth. The gate also learnt from photographs and from
drawn pictures, which its card counts; nothing else was trained on, unlabelled images included."""
"""What the model card says of the data of the shipped weights, beside the counts in their cards."""


def evaluate_all(data: Path, device: str) -> None:
    """Run both stages on every set under `data` and write the result files."""
    from lungcls.classifier import Classifier
    from lungcls.data import open_external, open_radiography, split_dataset
    from lungcls.finder import Finder

    finder = Finder.load(device=device)
    classifiers = [Classifier.load(f"classifier-{region}", device) for region in regions()]
    database = open_radiography(data)
    split = split_dataset(database, seed=0)
    external = {
        name: open_external(data / name) for name in (*EXTERNAL, *OTHER_CLASSES) if (data / name).is_dir()
    }
    with tempfile.TemporaryDirectory() as cache:
        write_release(database, split, finder, classifiers, external, RESULTS, cache, progress=bar)


def regions() -> list[str]:
    """Return the regions that classifiers are released for, the default first."""
    named = {name.removeprefix("classifier-") for name in released() if name.startswith("classifier-")}
    return [region for region in ("mask", "crop", "full") if region in named]


def short_table() -> str:
    """Make the README's three rows: lungs, classes by the lungs alone, classes by the whole film."""
    reports = _read("radiography")["reports"]
    lines = []
    drawn = _read(EXTERNAL[0])["reports"]["segmenter"]
    rows = [("lung Dice", f"{EXTERNAL[0]}, masks drawn by people, never trained on", drawn, "dice_mean")]
    rows += [
        (
            f"macro-F1, region `{region}`",
            "radiography, test part",
            reports[f"classifier-{region}"],
            "macro_f1",
        )
        for region in ("mask", "full")
    ]
    for what, on, report, metric in rows:
        value, low, high = (f"{report['overall'][metric][key]:.3f}" for key in ("value", "low", "high"))
        lines.append([what, on, f"{report['n_images']:,}", f"{value} ({low} to {high})"])
    return markdown_table(HEADINGS, lines)


def table() -> str:
    """Make the whole table from the result files."""
    lines: list[list[str]] = []

    def row(what: str, on: str, images: int, figure: dict[str, Any], digits: int = 3) -> None:
        lines.append([what, on, f"{images:,}", _with_ends(figure, digits)])

    def masks(on: str, report: dict[str, Any]) -> None:
        row("lung Dice, mean", on, report["n_images"], report["overall"]["dice_mean"], 4)
        row("lung Dice, 5th percentile", on, report["n_images"], report["overall"]["dice_p05"], 4)

    payload = _read("radiography")
    reports = payload["reports"]
    masks("radiography, test part", reports["segmenter"])
    for name in EXTERNAL:
        if (RESULTS / f"released_weights_{name}.json").is_file():
            masks(f"{name}, never trained on", _read(name)["reports"]["segmenter"])
    test = "radiography, test part"
    for region in regions():
        report = reports[f"classifier-{region}"]
        for metric, text in (
            ("macro_f1", "macro-F1"),
            ("accuracy", "accuracy"),
            ("macro_auroc", "macro AUROC"),
            ("covid_false_negative_rate", "COVID false-negative rate"),
            ("ece", "ECE"),
        ):
            row(
                f"{text}, region `{region}`",
                test,
                report["n_images"],
                # Percentiles of a calibration error are no interval of it.
                report["overall"][metric] | ({"low": None} if metric == "ece" else {}),
            )
        for name, figures in report["per_class"].items():
            row(
                f"F1 of {name}, region `{region}`",
                test,
                figures["support"],
                figures["f1"],
            )
    baseline = reports["classifier-mask"]["overall"]
    row("macro-F1 of always saying the majority class", test,
        reports["classifier-mask"]["n_images"], baseline["majority_macro_f1"])  # fmt: skip
    device, versions = payload["device"], payload["versions"]
    text = [
        markdown_table(HEADINGS, lines),
        "",
        f"Split `{payload['split_hash']}`, {payload['bootstrap']['resamples']:,} bootstrap resamples "
        f"by group (seed {payload['bootstrap']['seed']}), {device}, torch {versions['torch']}. Files: "
        "`benchmarks/results/released_weights_*.json`; "
        "command: `python benchmarks/released_weights.py --data DIR`.",
    ]
    return "\n".join(text)


def card() -> str:
    """Make the model card of the shipped weights from their cards and the result files."""
    return model_card(WEIGHTS, RESULTS, about=ABOUT, drawn_by_people=EXTERNAL)


def _with_ends(figure: dict[str, Any], digits: int) -> str:
    value = f"{figure['value']:.{digits}f}"
    if figure["low"] is None:
        return value
    return f"{value} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def documents() -> dict[Path, str]:
    """Return the texts of the documents with their tables, by path."""
    return {
        README: between_marks(README.read_text(encoding="utf-8"), "results_short", short_table()),
        TABLES: between_marks(TABLES.read_text(encoding="utf-8"), "results", table()),
    }


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (RESULTS / f"released_weights_{name}.json").read_text(encoding="utf-8")
    )
    return content


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--table", action="store_true", help="only write texts and pictures")
    options = parser.parse_args()
    if not options.table:
        if options.data is None:
            parser.error("--data or LUNGCLS_DATA must name the folder that holds radiography")
        evaluate_all(Path(options.data), options.device)
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
    write_model_card(WEIGHTS, RESULTS, about=ABOUT, drawn_by_people=EXTERNAL)


if __name__ == "__main__":
    main()
