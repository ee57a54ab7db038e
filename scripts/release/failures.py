"""Pictures of what the released weights get wrong, drawn from result files: no X-ray is in them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lungcls.render.drawing import COLOURS, new_figure, number, save_figure
from release.measure import read_results

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Answer(NamedTuple):
    """What a classifier said of one film."""

    model: str
    label: str
    source: str
    said: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the most probable class is the true one."""
        return self.said == self.label


def answered(path: str | Path) -> Iterator[Answer]:
    """Read the answers on the test part, of whatever classes."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            # Each class has two columns: its probability, and logit_<class>.
            classes = {key: float(row[key]) for key in row if f"logit_{key}" in row}
            said = max(classes, key=lambda name: classes[name])
            yield Answer(row["model"], row["label"], row["source"], said, classes[said])


def save_failures(results: str | Path, path: str | Path) -> Path:
    """Draw the failures on the test part, and those of stage 1 on every set with lung masks.

    Parameters
    ----------
    results : path-like
        Folder that :func:`release.measure.write_release` wrote.
    path : path-like
        The PNG file to write.

    Returns
    -------
    Path

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    test, payloads, answers = read_results(results)
    reports = payloads[test]["reports"]
    classifiers = {name: one for name, one in reports.items() if "confusion_matrix" in one}
    figure = new_figure(4 * max(2, len(classifiers)), 8)
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    for axes, (name, report) in zip(
        above.subplots(1, len(classifiers), squeeze=False)[0], classifiers.items()
    ):
        _confused(axes, name, report)
    sure, masks = below.subplots(1, 2)
    _sure(sure, list(answered(answers)), 1 / len(next(iter(classifiers.values()))["classes"]))
    _masks(masks, payloads)
    return save_figure(figure, path, dpi=90)


def _confused(axes: Axes, name: str, report: dict[str, Any]) -> None:
    counts, classes = np.asarray(report["confusion_matrix"]["counts"]), report["classes"]
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    wrong = np.where(np.eye(len(classes), dtype=bool), np.nan, share)
    axes.imshow(wrong, vmin=0, vmax=0.2, cmap="Reds")
    for (i, j), count in np.ndenumerate(counts):
        if i != j:
            colour = "white" if share[i, j] > 0.13 else "black"
            axes.text(
                j, i, f"{share[i, j]:.1%}\n({count})", ha="center", va="center", fontsize=8, color=colour
            )
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set_xlabel("called")
    axes.set_ylabel("true class")
    axes.set_title(f"{name}: wrong answers", fontsize=10)


def _sure(axes: Axes, answers: list[Answer], least: float) -> None:
    """By confidence, from the `least` that the most probable of the classes can have."""
    confidences = np.linspace(least, 1, 76)
    for k, model in enumerate(dict.fromkeys(answer.model for answer in answers)):
        wrong = np.asarray([one.confidence for one in answers if one.model == model and not one.right])
        if len(wrong):
            share = (wrong[:, None] >= confidences).mean(0)
            axes.plot(
                confidences, share, color=COLOURS[k % len(COLOURS)], label=f"{model} ({len(wrong)} films)"
            )
    axes.set_xlim(least, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("calibrated confidence of at least")
    axes.set_ylabel("share of the wrong answers")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)
    axes.set_title("How sure the wrong answers are", fontsize=10)


def _masks(axes: Axes, payloads: dict[str, Any]) -> None:
    rows: list[tuple[str, dict[str, float | None]]] = []
    limit = None
    for name, payload in payloads.items():
        report = payload["reports"].get("segmenter")
        if report is None:
            continue
        limit = report["failure_below"]
        rows.append((f"{name} ({report['n_images']})", report["overall"]["failure_rate"]))
        if len(report["per_class"]) > 1:
            rows += [
                (f"{name}, {label} ({one['support']})", one["failure_rate"])
                for label, one in report["per_class"].items()
                if one["support"]
            ]
    for at, (_, rate) in enumerate(rows):
        value, low, high = (number(rate[key]) for key in ("value", "low", "high"))
        reach = np.nan_to_num([[value - low], [high - value]])
        axes.errorbar(value, at, xerr=np.maximum(reach, 0), fmt="o", ms=4, capsize=2, color=COLOURS[0])
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(f"share of films with Dice below {limit}")
    axes.set_title("Where lung masks fail", fontsize=10)
