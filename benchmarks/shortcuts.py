"""The shortcut suite's table: the checks and their verdicts, for the released classifiers and an ablation's
arms.

    python benchmarks/shortcuts.py --data DIR --work DIR [--quick] [--part PART] [--models NAME_OR_PATH...]
        [--again CHECKS]

DIR (``--data``) holds ``radiography`` and, where present, ``covid-chestxray-dataset`` and ``coronahack``
(external sets). The page with the pictures goes to ``--work``, since it holds parts of X-rays; the figures
go to ``benchmarks/results/shortcuts*`` (``shortcuts_quick*`` with ``--quick``, ``*_validation*`` of that
part) and the table into ``benchmarks/README.md``, between its marks; ``--table`` only writes it anew from the
files. Each model has a folder below ``--work``: one that was examined with the same options is not examined
again, but for the checks that ``--again`` names, since their code was changed; their figures take the place
of the earlier ones, and the table says which they are.

Full: the whole part, with the trainings of checks 4, 5 and 8 (for a GPU; ``--no-trainings`` leaves them
out). Quick: up to 100 images of each class, few composites, no trainings and no external sets.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path
from typing import Any

from marks import between_marks

from lungcls.render.tables import markdown_table

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
MODELS = ("classifier-full", "classifier-mask")
EXTERNAL = ("covid-chestxray-dataset", "coronahack")


def result_name(options: argparse.Namespace) -> str:
    """Name of the result files: by size and part."""
    return f"shortcuts{'_quick' * options.quick}{f'_{options.part}' * (options.part != 'test')}"


def run(options: argparse.Namespace) -> None:
    """Examine the models through the command line's own function and keep the figures."""
    from lungcls.cli.shortcuts import shortcuts
    from lungcls.evaluation.results import write_results

    data = Path(options.data)
    chosen = {
        "part": options.part,
        "train_checks": not (options.quick or options.no_trainings),
        "limit": options.limit if options.limit is not None else 100 * options.quick,
        "per_pair": 25 if options.quick else 50,
        "resamples": 200 if options.quick else 2000,
        "masks": options.masks,
    }
    payloads, rows = [], []
    cache = options.cache or Path(options.work) / "masks"
    for model in options.models:
        out = Path(options.work) / result_name(options) / Path(model).stem
        done = out / "options.json"
        if not done.is_file() or json.loads(done.read_text(encoding="utf-8")) != chosen:
            shortcuts(
                [model],
                data,
                out,
                external=[]
                if options.quick
                else [data / name for name in EXTERNAL if (data / name).is_dir()],
                cache=cache,
                device=options.device,
                workers=options.workers,
                **chosen,
            )
            done.write_text(json.dumps(chosen), encoding="utf-8")
        payload, figures = _read(out)
        if options.again:
            again = out / "again"
            shortcuts(
                [model], data, again, checks=options.again, cache=cache, device=options.device, **chosen
            )
            newer, new_figures = _read(again)
            checks = {check["name"]: check for check in newer["checks"]}
            payload["checks"] = [checks.get(check["name"], check) for check in payload["checks"]]
            payload["verdicts"] |= newer["verdicts"]
            payload["again"] = list(checks)
            if "untestable_pairs" in checks:
                payload["barred"] = newer["barred"]
            figures = [row for row in figures if row["check"] not in checks] + new_figures
        payloads.append({**payload, "limit": chosen["limit"]})
        rows += figures
    write_results(RESULTS, result_name(options), rows, {"models": payloads})


def _read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what the command wrote of one model: its payload and its figures."""
    (payload,) = json.loads((folder / "shortcuts.json").read_text(encoding="utf-8"))["models"]
    with (folder / "shortcuts.csv").open(encoding="utf-8", newline="") as file:
        return payload, list(csv.DictReader(file))


def table(name: str) -> str:
    """Make the table of one result file, such as ``shortcuts`` or ``shortcuts_quick_validation``."""
    models: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))[
        "models"
    ]
    titles = {check["name"]: check["title"] for model in models for check in model["checks"]}
    heading = ["check", *(f"`{model['model']}` (region `{model['region']['name']}`)" for model in models)]
    rows = []
    for key, title in titles.items():
        cells = [title]
        for model in models:
            check = next((check for check in model["checks"] if check["name"] == key), None)
            cells.append(f"**{check['verdict']}**: {check['because']}" if check else "-")
        rows.append([cell.replace("|", "/") for cell in cells])
    first = models[0]
    per_class = first.get("limit")
    limit = f" --limit {per_class}" if per_class not in (None, 0, 100) else ""
    minutes = sum(model["seconds"] for model in models) / 60
    lines = [markdown_table(heading, rows)]
    for model in models:
        if barred := model.get("barred"):
            lines += ["", f"Barred from headlines (check D, `{model['model']}`): {'; '.join(barred)}."]
            break  # it is about the data, not the model
    lines += [
        "",
        f"{first['images']:,} images of the {first['part']} part, split `{first['split_hash']}`, "
        f"{first['bootstrap']['resamples']:,} resamples by group (seed {first['bootstrap']['seed']}), "
        f"{first['device']}, torch {first['versions']['torch']}, {minutes:.0f} minutes. Rules: "
        "`docs/shortcuts.md`. Command: `python benchmarks/shortcuts.py --data DIR --work DIR"
        f"{' --quick' * ('quick' in name)}{' --part validation' * name.endswith('_validation')}"
        f"{limit}`." + (f" Run again since: {', '.join(first['again'])}." if first.get("again") else ""),
    ]
    return "\n".join(lines)


def with_table(text: str, name: str) -> str:
    """Return a document's text with the table put between its two marks."""
    return between_marks(text, name, table(name))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("LUNGCLS_DATA"), help="or LUNGCLS_DATA")
    parser.add_argument("--work", type=Path, default=None, help="folder for the page and the trainings")
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--limit", type=int, default=None, help="images of each class; 100 with --quick")
    parser.add_argument("--again", default="", help="checks to run again, by number or name, with commas")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--quick", action="store_true", help="minutes on two cores")
    parser.add_argument("--no-trainings", action="store_true", help="leave out what checks 4, 5 and 8 train")
    parser.add_argument("--masks", choices=("predicted", "truth"), default="predicted")
    parser.add_argument("--cache", type=Path, default=None, help="folder of predicted masks")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only write the table anew from the files")
    options = parser.parse_args()
    name = result_name(options)
    if not options.table:
        if options.data is None or options.work is None:
            parser.error("--work, and --data or LUNGCLS_DATA, must be given")
        run(options)
    README.write_text(with_table(README.read_text(encoding="utf-8"), name), encoding="utf-8")
    print(table(name))


if __name__ == "__main__":
    main()
