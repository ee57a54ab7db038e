"""The tables of ``benchmarks/README.md``, ``README.md`` and ``docs/`` that other scripts' result files make.

    python benchmarks/documents.py

Reads ``results/*.json`` and ``.csv`` and writes each table between its marks; measures nothing. A test fails
where the document and the files differ.
"""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from marks import between_marks

from lungcls.files import atomic_write
from lungcls.render.tables import format_table, markdown_table

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
DOCS = README.parent.parent / "docs"

Row = dict[str, Any]


def speed() -> str:
    """Engines beside what a user would write."""
    found = _json("speed")
    # A column: heading, key of the row, digits.
    columns = (
        ("images/s, files, batch 1", "images/s files 1", 1),
        ("batch 32", "images/s files 32", 1),
        ("images/s, arrays, batch 32", "images/s arrays 32", 1),
        ("p50 ms", "p50 ms", 0),
        ("p95 ms", "p95 ms", 0),
        ("peak MiB", "peak MiB", 0),
        ("cold start s", "cold start s", 1),
        ("times (a)", "times (a)", 1),
        ("share of the bound", "share of bound", 2),
        ("macro-F1", "macro-F1", 3),
        ("its change", "macro-F1 change", 3),
        ("Dice change", "dice change", 4),
    )
    rows = [
        {"system": row["system"]}
        | {heading: _rounded(row.get(key), digits) for heading, key, digits in columns}
        for row in found["rows"]
    ]
    machine, memory = found["machine"], found["steady_memory"]
    about = (
        f"{machine['processor']}, {machine['cores']} cores; torch {found['versions']['torch']}, openvino "
        f"{found['versions']['openvino']}, onnxruntime {found['versions']['onnxruntime']}; "
        f"{found['images']['timed']} images, {found['images']['rounds']} rounds; accuracy on "
        f"{found['images']['judged']:,} test images, split `{found['split_hash']}`. Memory over "
        f"{memory['images']:,} images with {memory['system']}: peak {memory['peak_mib']:.0f} MiB."
    )
    return f"{format_table(rows)}\n\n{about}"


def edge() -> str:
    """The small variants beside the released weights."""
    found = _json("edge")
    digits = {"MB": 1, "parameters (M)": 2, "p50 ms": 1, "p95 ms": 1, "macro-F1": 3, "dice": 4, "peak MiB": 0}
    rows = [
        {key: _rounded(value, digits[key]) if key in digits else value for key, value in row.items()}
        for row in found["rows"]
    ]
    epochs = found["epochs"]
    about = (
        f"The small U-Net was trained for {epochs['segmenter']} epochs, the small classifier for "
        f"{epochs['classifier']}. {found['cores']} cores, one image at a time from files; "
        f"{found['images']['judged']:,} test images, "
        f"split `{found['split_hash']}`."
    )
    return f"{format_table(rows)}\n\n{about}"


def attention() -> str:
    """Pointing game and shares of the Grad-CAM, beside chance, ceiling and random weights."""
    figures = {
        ("boxes", "hit"): "pointing game",
        ("boxes", "energy"): "share in the boxes",
        ("lungs", "lungs"): "share in the lungs",
    }
    rows = []
    for (name, metric), title in figures.items():
        found = [
            row
            for row in _csv(f"attention_{name}")
            if row["method"] == "gradcam" and row.get("class", "all") == "all"
        ]
        plain = {(row["classifier"], row["network"], row["metric"]): row for row in found}
        for (classifier, network, key), row in plain.items():
            if key != metric:
                continue
            beside = (plain.get((classifier, network, f"{metric}_{end}")) for end in ("chance", "ceiling"))
            chance, ceiling = (_rounded(float(one["value"]), 2) if one else None for one in beside)
            rows.append(
                {
                    "figure": title,
                    "classifier": classifier,
                    "weights": network,
                    "films": row["n"],
                    **{key: float(row[key]) for key in ("value", "low", "high")},
                    "chance": chance,
                    "ceiling": ceiling,
                }
            )
    return format_table(rows, digits=2)


def quality_gate() -> str:
    """What is accepted and refused, set by set."""
    found = _json("quality_gate")
    rows = [
        {"what": row["what"], "set": row["set"], "images": row["images"], "share": _rounded(row["value"], 4)}
        for row in found["rows"]
        if not row["what"].startswith(("reason", "AUROC", "CPU", "nothing wrong"))
    ]
    return format_table(rows)


def web_load() -> str:
    """The load test's rounds."""
    digits = {"requests_per_second": 1, "median_seconds": 2, "p95_seconds": 2, "images_per_batch": 1}
    rows = [
        {key.replace("_", " "): _rounded(float(row[key]), digits.get(key, 0)) for key in row}
        for row in _csv("web_load")
    ]
    return format_table(rows)


def reference_systems() -> str:
    """The comparison as its script wrote it, a heading lower."""
    return (RESULTS / "reference_systems.md").read_text(encoding="utf-8").replace("## ", "### ").strip()


def trimmed_copies() -> str:
    """Macro-F1 without test films whose trimmed copy is in another part."""
    found = _json("trimmed_copies")
    about = (
        f"{found['files_across_parts']} films in {found['groups_across_parts']} groups of copies that cross "
        f"the parts of the split `{found['split_hash']}`."
    )
    return f"{format_table(found['rows'])}\n\n{about}"


def class_bias() -> str:
    """What a bias by class adds to the temperature, on validation."""
    found = _json("class_bias")
    table: dict[tuple[str, str], Row] = {}
    for row in found["rows"]:
        line = table.setdefault(
            (row["model"], row["fitted"]), {"model": row["model"], "fitted": row["fitted"]}
        )
        line[row["metric"]] = _rounded(row["value"], 4)
    about = (
        f"Validation part of the split `{found['split_hash']}`: fitted on four fifths of its groups, "
        f"measured on the fifth, in turn; {found['device']}, torch {found['versions']['torch']}. Command: "
        f"`{found['command']}`, with the weights as they were before."
    )
    return f"{format_table(list(table.values()))}\n\n{about}"


def ordered_sets() -> str:
    """What it costs that conformal sets have no gaps."""
    found = _json("ordered_sets")
    table: dict[tuple[str, float], Row] = {}
    for row in found["rows"]:
        line = table.setdefault((row["model"], row["asked"]), {"model": row["model"], "asked": row["asked"]})
        if not row["set"].startswith("with "):
            line[f"{row['set']}: holds the true class"] = _rounded(row["holds the true class"], 3)
            line[f"{row['set']}: mean size"] = _rounded(row["mean size"], 3)
            line[f"{row['set']}: empty"] = _rounded(row["empty"], 3)
    about = f"{found['films']:,} test films, from `results/{found['answers']}`; no film was looked at again."
    return f"{format_table(list(table.values()))}\n\n{about}"


def ablation_short() -> str:
    """How well each arm of the ablation can be told apart, for the README."""
    found = _json("ablation_quick")
    rows = []
    for arm in dict.fromkeys(row["arm"] for row in found["figures"]):
        mine = {row["metric"]: row for row in found["figures"] if row["arm"] == arm and not row["class"]}
        score = {key: mine["macro_f1"][key] for key in ("value", "low", "high")}
        sensitivity = _rounded(mine["covid_sensitivity"]["value"], 2)
        rows.append({"what it sees": f"`{arm}`", **score, "COVID sensitivity": sensitivity})
    return format_table(rows).replace("value [", "macro-F1 [", 1)


def speed_short() -> str:
    """The engines beside the naive pair, for the README."""
    rows = []
    for row in _json("speed")["rows"]:
        batch = row.get("images/s files 32", row["images/s files 1"])
        rows.append(
            {
                "system": row["system"],
                "images/s from files": _rounded(batch, 1),
                "times (a)": _rounded(row["times (a)"], 1),
                "macro-F1": _rounded(row.get("macro-F1"), 3),
                "one image from a cold start, s": _rounded(row.get("cold start s"), 1),
                "peak MiB": _rounded(row["peak MiB"], 0),
            }
        )
    return format_table(rows)


def constancy() -> str:
    """How many labels change with the way a film is kept."""
    found = _json("constancy")
    table: dict[str, Row] = {}
    for row in found["rows"]:
        line = table.setdefault(row["change"], {"change": row["change"]})
        name = row["region"]
        ends = f"{row['low']:.3f}, {row['high']:.3f}"
        line[f"`{name}`: labels that change"] = f"{row['labels that change']:.3f} [{ends}]"
        line[f"`{name}`: right before, after"] = f"{row['right before']:.3f}, {row['right after']:.3f}"
    about = (
        f"{found['rows'][0]['films']} films of the validation part, split `{found['split_hash']}`, seed "
        f"{found['seed']}; {found['device']}, torch {found['versions']['torch']}. Command: "
        f"`{found['command']}`."
    )
    return f"{format_table(list(table.values()))}\n\n{about}"


def sides() -> str:
    """How often lungs touch, and how well they are divided."""
    found = _json("sides")
    rows = [
        {
            key: _rounded(value, 2 if key == "divided" else 5) if isinstance(value, float) else value
            for key, value in row.items()
        }
        for row in found["rows"]
    ]
    size = f"{found['size']} x {found['size']}"
    about = f"Joined at {size}; shares of a mask's pixels. Command: `{found['command']}`."
    return f"{format_table(found['counts'])}\n\n{format_table(rows)}\n\n{about}"


def same_source() -> str:
    """What can be claimed of this database: classes told apart within one source."""
    found = _json("same_source")
    rows = [
        {
            "AUROC within one source (test part)": row["pair"],
            "source": row["source"],
            "model": f"`{row['model']}`",
            **{key: row[key] for key in ("value", "low", "high", "n")},
        }
        for row in found["rows"]
        if row["model"] != "classifier-crop"
    ]
    pairs = ", ".join(found["no source has both of"])
    about = f"No source has both of {pairs}: these pairs cannot be judged here."
    return f"{format_table(rows)}\n\n{about}"


def trust_short() -> str:
    """Sets, tiers and what tells errors, for the page about them; ``trust.py`` writes all of it."""
    found = {(row["metric"], row["model"]): row for row in _json("trust")["rows"] if not row["class"]}
    shown = {
        "sets for 0.9: hold the true class": "conformal_coverage@0.9",
        "sets for 0.9: mean size": "conformal_set_size@0.9",
        "sets for 0.99: hold the true class": "conformal_coverage@0.99",
        "sets for 0.99: mean size": "conformal_set_size@0.99",
        "tier high: share of films": "tier_high_share",
        "tier high: right": "tier_high_accuracy",
        "tier moderate: right": "tier_moderate_accuracy",
        "tier low: right": "tier_low_accuracy",
        "AUROC of telling errors by confidence": "error_auroc_max_probability",
    }
    models = ("classifier-mask", "classifier-full")
    lines = []
    for what, metric in shown.items():
        rows = [found[metric, model] for model in models]
        lines.append([what, *(f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" for row in rows)])
    return markdown_table(["what", *(f"`{model}`" for model in models)], lines)


def shortcuts_example() -> str:
    """What ``lungcls shortcuts`` prints of check 1, for the page that explains it."""
    lines = []
    for model in _json("shortcuts_quick")["models"]:
        check = next(check for check in model["checks"] if check["name"] == "background_swap")
        because = textwrap.wrap(check["because"], 80, initial_indent=" " * 15, subsequent_indent=" " * 15)
        lines += [f"{model['model']}, {model['images']} images", f"{check['verdict']:14} {check['title']}"]
        lines += because
    return "\n".join(["```text", *lines, "```"])


def processings() -> str:
    """Macro-F1 with processings balanced, and the gaps of recall between them."""
    found = _json("processings")
    lines = []
    for model in dict.fromkeys(row["model"] for row in found["rows"]):
        mine = [row for row in found["rows"] if row["model"] == model]
        f1 = {row["films"]: row for row in mine if row["metric"] == "macro_f1"}
        gaps = {row["class"]: row for row in mine if row["metric"] == "recall_gap"}
        shown = [f1["all"], f1["processing balanced"], *gaps.values()]
        lines.append([f"`{model}`", *(f"{r['value']:.3f} [{r['low']:.3f}, {r['high']:.3f}]" for r in shown)])
    classes = [row["class"] for row in found["rows"] if row["metric"] == "recall_gap"]
    titles = [f"gap of recall, {name}" for name in dict.fromkeys(classes)]
    return markdown_table(["", "macro-F1", "with processings balanced", *titles], lines)


def small_images() -> str:
    """How many labels stay, and how many are right, on films shrunk to a side."""
    found = _json("small_images")
    sides = sorted({row["side"] for row in found["rows"]})
    by = {(row["region"], row["side"]): row for row in found["rows"]}
    rows = [
        {"side": str(side)}
        | {
            f"`{region}`, {words}": f"{by[region, side][key]:.2f}"
            for region in ("mask", "full")
            for words, key in (("labels that stay", "labels_kept"), ("right", "accuracy"))
        }
        for side in sides
    ]
    first = found["rows"][0]
    about = (
        f"{first['films']} films, drawn, of the {found['part']} part (split `{found['split_hash']}`, seed "
        f"{found['seed']}); right as they are: `mask` {by['mask', sides[0]]['accuracy_whole']:.2f}, `full` "
        f"{by['full', sides[0]]['accuracy_whole']:.2f}."
    )
    return f"{format_table(rows)}\n\n{about}"


def static_page() -> str:
    """The page that answers in the browser beside the library."""
    found = _json("static_page")
    same = ("same_label", "same_set", "same_tier", "same_reasons")
    lines = [
        [f"films of the test part, drawn with seed {found['seed']}", found["films"]],
        *([f"films of the same {key.removeprefix('same_')} as the library's", found[key]] for key in same),
        ["largest difference of a probability", f"{found['largest_probability_difference']:.1e}"],
        ["MB of the page, weights included", found["page_megabytes"]],
        ["seconds until it is ready", f"{found['seconds_to_ready']:.0f}"],
        ["seconds a film", f"{found['seconds_a_film']:.1f}"],
    ]
    about = f"{found['browser']}; split `{found['split_hash']}`."
    return f"{markdown_table(['what', 'value'], [[str(cell) for cell in line] for line in lines])}\n\n{about}"


TABLES: Final[dict[Path, tuple[Callable[[], str], ...]]] = {
    README: (
        speed,
        edge,
        attention,
        quality_gate,
        web_load,
        reference_systems,
        trimmed_copies,
        class_bias,
        ordered_sets,
        constancy,
        sides,
        small_images,
        processings,
    ),
    README.parent.parent / "README.md": (same_source, ablation_short, speed_short),
    DOCS / "shortcuts.md": (shortcuts_example,),
    DOCS / "trust.md": (trust_short,),
    DOCS / "static_page.md": (static_page,),
}
"""By document; each function's name is in the document's marks."""


def with_tables(document: Path) -> str:
    """Return a document's text with every table put between its marks."""
    text = document.read_text(encoding="utf-8")
    for table in TABLES[document]:
        text = between_marks(text, table.__name__, table())
    return text


def _json(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _csv(name: str) -> list[Row]:
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _rounded(value: float | None, digits: int) -> str | None:
    # Plus 0, or what is rounded to nothing would show as -0.
    return None if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"


def main() -> None:
    for document in TABLES:
        text = with_tables(document)
        with atomic_write(document, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
