"""The model card of the released weights: what they are, made from their cards and measured results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lungcls.data.radiography import TITLE
from lungcls.files import atomic_write
from lungcls.labels import CLASSES, NOTICE
from lungcls.lineage import other_masks
from lungcls.render.tables import markdown_table
from lungcls.weights import Card, load_card
from release.failures import answered, save_failures
from release.measure import read_results

PICTURE: Final = "failures.png"
"""Beside the model card."""

SEES: Final = {
    "full": "the whole image",
    "crop": "the lung box",
    "mask": "the lungs alone, cut by the predicted mask and cropped to their box",
}

_NAMES: Final = {"macro_f1": "macro-F1", "macro_auroc": "macro AUROC", "accuracy": "accuracy", "ece": "ECE"}

_DATABASE: Final = """\
The COVID-19 Radiography Database is that of Chowdhury 2020 and Rahman 2021. Its lung masks were made by its
authors' own network and checked by them."""

_LIMITS: Final = """\
- A classifier can tell the hospital, the scanner or the child instead of the disease. `lungcls shortcuts`
  measures it.
- There is no class for other findings: a film of any of them gets one of these classes.
- Images of other kinds than those that were trained on are what the quality gate is there to refuse."""

_LIMITS_OF_DATABASE: Final = """\
- Each class comes from its own hospitals: Viral Pneumonia is all children, Lung_Opacity and most Normal are
  adults from RSNA, COVID comes from many other sources. A classifier can tell the source instead of the
  disease, and `full` in particular can see letters, borders and collimation. `lungcls shortcuts` measures it.
- There is no class for other diseases: a film of any of them gets one of the four.
- Only frontal films were trained on. Those of other kinds are what the quality gate is there to refuse."""

_ELSEWHERE: Final = """\
Films of other collections that are no near duplicates of those that were learnt from. They are no clean test
of another hospital: films of the same sources may be left, and what a collection calls pneumonia is not what
the training data call so. A low recall shows how little a class means beyond where it was learnt."""

_MAPPED: Final = {
    "coronahack": "the bacterial pneumonia of children counts as Lung_Opacity, which was learnt from adults",
}
"""What to know of the classes of a collection, by its layout."""


def model_card(
    weights: str | Path, results: str | Path, *, about: str = "", drawn_by_people: Sequence[str] = ()
) -> str:
    """Write the model card's text.

    Parameters
    ----------
    weights : path-like
        Folder of weight files with their cards.
    results : path-like
        Folder that :func:`release.measure.write_release` wrote.
    about : str, optional
        Markdown at the end of the section on the data: what no card knows of the copy and its split.
    drawn_by_people : sequence of str, optional
        Sets whose lung masks people drew.

    Returns
    -------
    str
        Markdown. Every figure is from the files, the counts of images from the cards.

    References
    ----------
    Mitchell et al. (2019), Model Cards for Model Reporting, FAT*.
    """
    cards = [load_card(path.with_suffix(".safetensors")) for path in sorted(Path(weights).glob("*.json"))]
    test, payloads, answers = read_results(results)
    of_four = any(_of_database(card) and tuple(card.classes or ()) == CLASSES for card in cards)
    limits = _LIMITS_OF_DATABASE if of_four else _LIMITS
    lines = [
        "# Released weights",
        "",
        f"**{NOTICE}** Licence: research and education, as the terms of the data.",
        "",
        "Written by `benchmarks/released_weights.py` (or `lungcls train-release`) from the cards and the",
        "measured results. Each `<name>.safetensors` (float16) has a card, `<name>.json`, which",
        "`lungcls info NAME` shows.",
        "",
        *_table(cards),
        "",
        "## Data",
        "",
        *_data(cards),
        *([about, ""] if about else []),
        "## Lineage",
        "",
        *_lineage(cards, payloads[test]),
        "",
        "## Intended use",
        "",
        "Ablations of masked against unmasked inputs, studies of shortcuts, teaching. Never diagnosis or",
        "triage, of anybody.",
        "",
        "## Limits",
        "",
        limits,
        _masks_of(test, [name for name in drawn_by_people if name in payloads]),
        "",
        "## Figures",
        "",
        "95% intervals from a bootstrap by group.",
        "",
        *_lungs(payloads),
        "",
        *_classes(test, payloads[test]),
        "",
        *_sources(answers),
        "",
        *_elsewhere(test, payloads),
        "## Known failures",
        "",
        *_failures(test, payloads),
        "",
        f"![Which films are called what, how sure the wrong answers are, and where masks fail]({PICTURE})",
        "",
        "*Drawn from the results of the test part. Above: the share of each class that is called another.",
        "Below: of the films that are answered wrongly, the share whose answer is at least so sure;",
        "and the share of lung masks with a Dice below the limit, with 95% intervals.*",
    ]
    return "\n".join(lines) + "\n"


def write_model_card(
    weights: str | Path, results: str | Path, *, about: str = "", drawn_by_people: Sequence[str] = ()
) -> None:
    """Write the model card, ``README.md``, and its pictures into the folder of the weights.

    Parameters
    ----------
    weights, results, about, drawn_by_people
        As :func:`model_card` takes them.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    save_failures(results, Path(weights) / PICTURE)
    with atomic_write(Path(weights) / "README.md", "w") as file:
        file.write(model_card(weights, results, about=about, drawn_by_people=drawn_by_people))


def _table(cards: list[Card]) -> Iterator[str]:
    lines = []
    for card in cards:
        sees = SEES.get(card.region["name"], card.region["name"]) if card.region else "the whole image"
        network = card.architecture.get("encoder", "")
        network = f"{card.architecture['model']} {network}".strip()
        images = sum(card.training_data["images"]["train"].values())
        lines.append(
            [
                f"`{card.name}`",
                card.task,
                sees,
                network,
                f"{card.input_size} px",
                f"{images:,} images",
                f"`{card.sha256[:12]}`",
            ]
        )
    headings = ("name", "task", "what it sees", "network", "input", "trained on", "SHA-256")
    yield markdown_table(headings, lines)


def _data(cards: list[Card]) -> Iterator[str]:
    """What was trained on, by the cards: one line for all weights that were trained on the same images."""
    trained: dict[str, list[str]] = defaultdict(list)
    for card in cards:
        data = card.training_data
        parts = {part: _counted(images) for part, images in data["images"].items()}
        text = (
            f"{data['dataset']}, split `{data['split_hash']}`: {parts['train']} in training; "
            f"{parts['validation']} in validation, to choose and to calibrate by"
        )
        trained[text].append(f"`{card.name}`")
    for text, names in trained.items():
        yield f"- {', '.join(names)}: {text}."
    yield ""
    if any(_of_database(card) for card in cards):
        yield from (_DATABASE, "")


def _lineage(cards: list[Card], payload: dict[str, Any]) -> Iterator[str]:
    """Whose masks cut the regions that each classifier was trained on, and what weights descend from."""
    used = payload["weights"].get("segmenter", "")
    yield f"The figures below are with the masks of the segmenter `{used[:12]}`."
    yield ""
    segmenter = next((card for card in cards if card.task == "segmentation"), None)
    for card in cards:
        data = card.training_data
        facts = []
        if data.get("segmenter") and segmenter is not None:
            masks = other_masks(card, segmenter)
            released = f"{segmenter.name} as it is released ({segmenter.sha256[:12]})"
            facts.append(
                f"trained on masks of {masks}, not of {released}"
                if masks
                else f"trained on masks of {released}"
            )
        if data.get("init"):
            facts.append(f"started from the weights `{str(data['init'])[:12]}`")
        if data.get("teachers"):
            facts.append(f"taught by {', '.join(f'`{one[:12]}`' for one in data['teachers'])}")
        yield f"- `{card.name}`: {'; '.join(facts) or 'its card names no weights before it'}."


def _of_database(card: Card) -> bool:
    return bool(card.training_data["dataset"] == TITLE)


def _masks_of(test: str, people: list[str]) -> str:
    """Whose masks Dice agrees with, of the sets that were measured."""
    agrees = (
        f"- Dice on {test} is agreement with a network's masks"
        if test == "radiography"
        else f"- Dice on {test} is agreement with the masks of the data, whoever made them"
    )
    drawn = " and ".join(name.capitalize() for name in people)
    return f"{agrees}; that on {drawn} with people's." if people else f"{agrees}."


def _counted(images: dict[str, int]) -> str:
    classes = ", ".join(f"{name} {count:,}" for name, count in images.items())
    return f"{sum(images.values()):,} images ({classes})"


def _lungs(payloads: dict[str, Any]) -> Iterator[str]:
    lines = []
    for name, payload in payloads.items():
        report = payload["reports"].get("segmenter")
        if report is None:
            continue
        seen = f"{payload['part']} part" if payload["split_hash"] else "never trained on"
        parts = {f"{name}, {seen}": {**report["overall"], "support": report["n_images"]}}
        if len(report["per_class"]) > 1:
            parts |= {f"{name}, {label}": figures for label, figures in report["per_class"].items()}
        for part, figures in parts.items():
            dice = [_interval(figures[name], 4) for name in ("dice_mean", "dice_p05")]
            lines.append([part, f"{figures['support']:,}", *dice, f"{figures['failure_rate']['value']:.1%}"])
    headings = ("lung masks of", "images", "Dice, mean", "Dice, 5th percentile", "below 0.9")
    yield markdown_table(headings, lines)


def _classes(test: str, payload: dict[str, Any]) -> Iterator[str]:
    lines = []
    for model, report in payload["reports"].items():
        if "confusion_matrix" not in report:
            continue
        for metric, name in _NAMES.items():
            found = report["overall"][metric]
            # Percentiles of a calibration error are no interval of it.
            figure = _interval(found) if metric != "ece" else _interval({**found, "low": None, "high": None})
            lines.append([f"`{model}`", name, f"{report['n_images']:,}", figure])
        for label, figures in report["per_class"].items():
            for metric, name in (("f1", "F1"), ("recall", "recall")):
                figure = _interval(figures[metric])
                lines.append([f"`{model}`", f"{name} of {label}", f"{figures['support']:,}", figure])
    yield markdown_table((f"test part of {test}", "figure", "images", "value"), lines)


def _sources(answers: Path) -> Iterator[str]:
    """The share of right answers by class and source: where a class has several, they should not differ."""
    counts: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
    for answer in answered(answers):
        counts[answer.model, answer.label, answer.source or "unknown"].append(answer.right)
    lines = [
        [f"`{model}`", label, source, f"{len(right):,}", f"{sum(right) / len(right):.1%}"]
        for (model, label, source), right in sorted(counts.items())
    ]
    yield markdown_table(("model", "class", "source", "images", "right"), lines)


def _elsewhere(test: str, payloads: dict[str, Any]) -> Iterator[str]:
    """Recall on other collections: of each class that they have."""
    others = {name: payload for name, payload in payloads.items() if name != test}
    found = [
        (name, payload, model, report)
        for name, payload in others.items()
        for model, report in payload["reports"].items()
        if "confusion_matrix" in report
    ]
    if not found:
        return
    yield from ("## Other collections", "", _ELSEWHERE, "")
    for name, payload in others.items():
        if any(name == one[0] for one in found):
            layout = payload.get("layout", name)
            notes = [*payload["notes"], *([f"{_MAPPED[layout]}."] if layout in _MAPPED else [])]
            yield from (f"- {name}: {note}" for note in notes)
    lines = []
    for name, _, model, report in found:
        classes, counts = report["classes"], report["confusion_matrix"]["counts"]
        for index, label in enumerate(classes):
            if images := sum(counts[index]):
                share, said = max((count / images, other) for other, count in zip(classes, counts[index]))
                recall = _interval(report["per_class"][label]["recall"])
                lines.append([name, f"`{model}`", label, f"{images:,}", recall, f"{said} ({share:.0%})"])
    headings = ("collection", "model", "class", "images", "recall", "most often called")
    yield from ("", markdown_table(headings, lines), "")


def _failures(test: str, payloads: dict[str, Any]) -> Iterator[str]:
    for model, report in payloads[test]["reports"].items():
        if "confusion_matrix" not in report:
            continue
        counts, classes = report["confusion_matrix"]["counts"], report["classes"]
        confused = sorted(
            (
                (counts[i][j] / sum(counts[i]), counts[i][j], truth, said)
                for i, truth in enumerate(classes)
                for j, said in enumerate(classes)
                if i != j and sum(counts[i])
            ),
            reverse=True,
        )
        worst = "; ".join(
            f"{share:.1%} of {truth} is called {said} ({count:,} films)"
            for share, count, truth, said in confused[:3]
        )
        yield f"- `{model}`: {worst}."
    for name, payload in payloads.items():
        report = payload["reports"].get("segmenter")
        if report is not None:
            rate = report["overall"]["failure_rate"]["value"]
            limit = report["failure_below"]
            yield f"- `segmenter`: Dice is below {limit} on {rate:.1%} of the films of {name}."


def _interval(figure: dict[str, float | None], digits: int = 3) -> str:
    # Without figure or interval: of a class that the test part has no image of, or only one.
    value, low, high = (
        "-" if figure[key] is None else f"{figure[key]:.{digits}f}" for key in ("value", "low", "high")
    )
    return value if "-" in (value, low) else f"{value} ({low} to {high})"
