"""The flow of films: read, split, refused by the gate, answered; drawn as reporting guidelines ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lungcls.paper.evidence import Evidence
from lungcls.render.drawing import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Flow:
    """What is known of the way of the films; a box is missing where nothing says its number.

    Attributes
    ----------
    start : list of str
        Lines of the first box: what the collection holds.
    left_out : list of str
        What went no further while the collection was read.
    parts : dict of str to list of str
        Lines by part of the split.
    judged : str
        Part that the gate's boxes hang below.
    refused, answered : list of str
    """

    start: list[str]
    left_out: list[str]
    parts: dict[str, list[str]]
    judged: str
    refused: list[str]
    answered: list[str]


def film_flow(evidence: Evidence) -> Flow | None:
    """Count the films on their way; None where neither a card nor a split counts any."""
    counts = _parts(evidence)
    if not counts:
        return None
    dataset = evidence.dataset
    title = str(evidence.card.training_data.get("dataset") or "films")
    start, left_out = [title], []
    if dataset is not None:
        start = [
            dataset.title,
            f"{len(dataset) + sum(dataset.dropped.values()) + len(dataset.missing_files):,} films named",
        ]
        left_out = [f"{count:,} left out: {reason}" for reason, count in dataset.dropped.items()]
        if dataset.missing_files:
            left_out.append(f"{len(dataset.missing_files):,} files are missing")
    start.append(f"{sum(counts.values()):,} films in {', '.join(counts)}")
    parts = {part: [f"{count:,} films"] for part, count in counts.items()}
    trained: dict[str, int] = evidence.card.training_data.get("films", {})
    if trained and "train" in parts:
        parts["train"] += [f"{count:,} {name.replace('_', ' ')}" for name, count in trained.items()]
    judged, refused, answered = "", [], []
    if evidence.evaluation:
        content: dict[str, Any] = evidence.evaluation.content
        judged = content["part"]
        films = content.get("films")
        if films:
            reasons = [
                f"{count:,} {name.replace('_', ' ')}" for name, count in films.get("reasons", {}).items()
            ]
            refused = [f"{films['refused']:,} refused by the gate,", "which get no label"]
            answered = [
                f"{films['accepted']:,} accepted",
                f"({films['corrected']:,} corrected, {films['without_two_lungs']:,} without two lungs)",
                *([f"reasons named: {', '.join(reasons)}"] if reasons else []),
            ]
    return Flow(start, left_out, parts, judged, refused, answered)


def _parts(evidence: Evidence) -> dict[str, int]:
    if evidence.split is not None:
        return dict(evidence.split.content.counts())
    counts = {
        part: sum(images.values()) for part, images in evidence.card.training_data.get("images", {}).items()
    }
    if evidence.evaluation:
        counts.setdefault(evidence.evaluation.content["part"], evidence.evaluation.content["images"])
    return counts


def draw_flow(flow: Flow) -> Figure:
    """Draw the flow of films.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    figure = new_figure(7.2, 5.4 if flow.answered else 2.7)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(-0.55 if flow.answered else 0.25, 1))
    axes.axis("off")
    _box(axes, 0.4 if flow.left_out else 0.5, 0.87, flow.start)
    middle = 0.4 if flow.left_out else 0.5
    if flow.left_out:
        _box(axes, 0.83, 0.87, flow.left_out)
        _arrow(axes, (0.4, 0.87), (0.83, 0.87))
    places = {part: (index + 0.5) / len(flow.parts) for index, part in enumerate(flow.parts)}
    for part, lines in flow.parts.items():
        _arrow(axes, (middle, 0.87), (places[part], 0.4))
        _box(axes, places[part], 0.4, [part, *lines])
    if flow.answered:
        x = places.get(flow.judged, 0.5)
        _arrow(axes, (x, 0.4), (min(x, 0.72), -0.3))
        _box(axes, min(x, 0.72), -0.3, [f"{flow.judged}: judged", *flow.answered])
        _arrow(axes, (x, 0.4), (0.2, -0.3))
        _box(axes, 0.2, -0.3, flow.refused)
    return figure


def _box(axes: Axes, x: float, y: float, lines: Sequence[str]) -> None:
    axes.text(
        x, y, "\n".join(lines), ha="center", va="center", fontsize=8, zorder=3, linespacing=1.4,
        bbox={"boxstyle": "square,pad=0.6", "facecolor": "white", "edgecolor": "#333333", "linewidth": 0.8},
    )  # fmt: skip


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    # Boxes stand above the arrows, which end in their middles.
    axes.plot(*zip(start, end), color="#333333", linewidth=0.8, zorder=1)
