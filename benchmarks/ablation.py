"""The ablation's table: the same model trained on parts of the image.

    python benchmarks/ablation.py --data DIR --work DIR [--quick]

DIR (``--data``) holds ``radiography``. Trainings and their checkpoints go to ``--work``; the same command
goes on after a kill. The results go to ``benchmarks/results/ablation*`` (``ablation_quick*`` with
``--quick``) and the tables into ``benchmarks/README.md``, between its marks; ``--table`` only writes them
anew from the files.

Full: all arms, EfficientNet-Lite0 from ImageNet at 128 pixels, three seeds, predicted and true masks: a night
of one core. Quick: six arms with a small network at 64 pixels and one seed, and those without a network, on
up to 1,000 images of each class.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from marks import between_marks

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
QUICK_ARMS = (
    "full", "mask", "background", "background_box", "silhouette", "mask_harmonised", "thumbnail8",
    "histogram", "statistics", "outline", "frame",
)  # fmt: skip
QUICK_LIMIT = 1000


def run(options: argparse.Namespace) -> None:
    """Train, test and write the result files."""
    from lungcls.ablation import DEFAULT_ARMS
    from lungcls.ablation.plots import write_plots
    from lungcls.ablation.run import ablate
    from lungcls.data import open_radiography
    from lungcls.evaluation.results import write_csv, write_results
    from lungcls.progress import bar
    from lungcls.recipes import load_recipe
    from lungcls.study.context import RunContext

    name = "ablation_quick" if options.quick else "ablation"
    found = ablate(
        load_recipe("ablation-quick" if options.quick else "ablation"),
        open_radiography(options.data),
        Path(options.work) / name,
        arms=options.arms.split(",") if options.arms else QUICK_ARMS if options.quick else DEFAULT_ARMS,
        seeds=options.seeds or (1 if options.quick else 3),
        masks=options.masks or ("predicted" if options.quick else "both"),
        limit=options.limit if options.limit is not None else QUICK_LIMIT if options.quick else 0,
        n_resamples=500 if options.quick else 2000,
        context=RunContext(
            device=options.device,
            workers=options.workers,
            cache=options.cache,
            show_progress=True,
            progress=bar,
        ),
    )
    write_results(RESULTS, name, found.rows, found.payload)
    write_csv(RESULTS, f"{name}_differences", found.differences)
    write_csv(RESULTS, f"{name}_swaps", found.swaps)
    write_plots(RESULTS, name, found.rows, found.swaps)


def table(name: str) -> str:
    """Make the tables of one result file (``ablation`` or ``ablation_quick``)."""
    from lungcls.ablation.tables import differences_table, figures_table, swaps_table

    payload: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    counts = {part: sum(classes.values()) for part, classes in payload["images"].items()}
    training = sum(payload["training_seconds"].values()) / 60
    lines = [
        f"{counts['train']:,} training and {counts['test']:,} test images, {payload['seeds']} seed(s), masks "
        f"{' and '.join(payload['masks'])}, recipe `{payload['recipe']['name']}`, "
        f"split `{payload['split_hash']}`, {payload['device']}, torch {payload['versions']['torch']}, "
        f"{training:.0f} minutes of training. Values: mean over seeds (95% interval by group), standard "
        "deviation over seeds. Command: "
        f"`{_command(name, payload)}`.",
        "",
        figures_table(payload["figures"]),
    ]
    if payload["differences"]:
        lines += [
            "",
            "Arm minus `full` (95% interval), p values after Holm's correction:",
            "",
            differences_table(payload["differences"]),
        ]
    if payload["swaps"]:
        lines += ["", "Macro-F1 of models of one arm (rows) on the views of another (columns):", ""]
        lines.append(swaps_table(payload["swaps"]))
    return "\n".join(lines)


def _command(name: str, payload: dict[str, Any]) -> str:
    """Return the command that makes a result file, with what differs from its defaults."""
    from lungcls.ablation import DEFAULT_ARMS

    words = "python benchmarks/ablation.py --data DIR --work DIR"
    if name.endswith("quick"):
        return f"{words} --quick"
    if tuple(payload["arms"]) != DEFAULT_ARMS:
        words += f" --arms {','.join(payload['arms'])}"
    if payload["seeds"] != 3:
        words += f" --seeds {payload['seeds']}"
    if len(payload["masks"]) == 1:
        words += f" --masks {payload['masks'][0]}"
    return words


def with_table(text: str, name: str) -> str:
    """Return a document's text with the tables put between their two marks."""
    return between_marks(text, name, table(name))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--work", type=Path, default=None, help="folder for the trainings")
    parser.add_argument("--quick", action="store_true", help="minutes on two cores")
    parser.add_argument("--arms", default="", help="separated by commas")
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--masks", choices=("predicted", "truth", "both"), default=None)
    parser.add_argument("--limit", type=int, default=None, help="images of each class; 0 takes all")
    parser.add_argument("--cache", default=None, help="folder of predicted masks")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only write the tables anew from the files")
    options = parser.parse_args()
    name = "ablation_quick" if options.quick else "ablation"
    if not options.table:
        if options.data is None or options.work is None:
            parser.error("--work, and --data or LUNGCLS_DATA, must be given")
        run(options)
    README.write_text(with_table(README.read_text(encoding="utf-8"), name), encoding="utf-8")
    print(table(name))


if __name__ == "__main__":
    main()
