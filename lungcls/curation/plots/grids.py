"""Charts that show images side by side: samples of each class, and copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from lungcls.curation.plots.chart import Chart, Table
from lungcls.curation.plots.style import colours, short
from lungcls.curation.survey import Survey
from lungcls.errors import ImageError
from lungcls.images import read_image
from lungcls.render.drawing import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SAMPLES: Final = 8  # images of a class
_CLASSES: Final = 12  # classes in a picture
_PAIRS: Final = 12  # pairs of copies


def grid_charts(survey: Survey, seed: int) -> list[Chart]:
    """Return the charts that show images; copies only where there are some."""
    charts = [_samples(survey, seed)] if survey.usable() else []
    return [*charts, *_copies(survey)]


def _samples(survey: Survey, seed: int) -> Chart:
    generator = np.random.default_rng(seed)
    labels = np.asarray(survey.labels, dtype=object)
    usable = np.asarray(survey.usable())
    chosen = {}
    for name in survey.classes[:_CLASSES]:
        own = usable[labels[usable] == name]
        if len(own):
            chosen[name] = sorted(generator.choice(own, min(_SAMPLES, len(own)), replace=False).tolist())

    def draw() -> Figure:
        figure = new_figure(1.45 * _SAMPLES + 0.4, 1.75 * len(chosen) + 0.2)
        grid = figure.subplots(len(chosen), _SAMPLES, squeeze=False)
        colour = colours(survey.classes)
        for line, (name, positions) in zip(grid, chosen.items()):
            for axes in line:
                axes.set_axis_off()
            for axes, position in zip(line, positions):
                record = survey.records[position]
                _show(axes, survey, position)
                axes.set_title(short(record.file.rsplit("/", 1)[-1], 18), fontsize=7)
            line[0].text(
                -0.06, 0.5, short(name, 22), transform=line[0].transAxes, rotation=90,
                va="center", ha="right", color=colour[name], fontweight="bold",
            )  # fmt: skip
        return figure

    rows = [
        (name, survey.records[position].file) for name, positions in chosen.items() for position in positions
    ]
    left = len(survey.classes) - len(chosen)
    return Chart(
        "samples",
        "Images",
        "Some images of each class",
        f"Up to {_SAMPLES} of each class, drawn with seed {seed}"
        + (f"; {left} classes are not shown." if left > 0 else "."),
        Table(("class", "file"), rows),
        draw,
    )


def _copies(survey: Survey) -> list[Chart]:
    audit = survey.audit
    kinds = {
        "identical files": audit.identical_files,
        "identical pixels": audit.identical_pixels,
        "near duplicates": audit.near,
        "copies in more than one class": audit.across_classes,
        "copies in more than one part": audit.across_parts,
    }
    groups = {name: len(found) for name, found in kinds.items()}
    images = {name: sum(len(group.files) for group in found) for name, found in kinds.items()}

    def draw() -> Figure:
        figure = new_figure(8, 3.6)
        axes = figure.add_subplot()
        places = np.arange(len(kinds))
        for offset, values, label, shade in (
            (-0.2, groups, "groups", "#0072B2"),
            (0.2, images, "images in them", "#56B4E9"),
        ):
            axes.barh(places + offset, list(values.values()), 0.38, color=shade, label=label)
            for place, value in zip(places, values.values()):
                axes.text(value, place + offset, f" {value}", va="center", fontsize=8)
        axes.set_yticks(places, list(kinds))
        axes.set(xlabel="number", xlim=(0, max([*images.values(), 1]) * 1.15))
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return figure

    rows = [
        (name, number, group.kind, file, " ".join(group.classes), " ".join(group.parts))
        for name, found in kinds.items()
        for number, group in enumerate(found, start=1)
        for file in group.files
    ]
    charts = [
        Chart(
            "duplicates",
            "Images",
            "Copies",
            "The same bytes, the same pixels in other files, and near duplicates (also those that were "
            "trimmed, "
            "recompressed or brightened a little). A copy of a training image in the test part makes a "
            "result look "
            "better than it is; copies in two classes contradict each other.",
            Table(("finding", "group", "kind", "file", "classes", "parts"), rows),
            draw,
        )
    ]
    if audit.similarities:
        charts.append(_pairs(survey))
    return charts


def _pairs(survey: Survey) -> Chart:
    position = {record.file: at for at, record in enumerate(survey.records)}
    labels = survey.labels
    found = [(position[a], position[b], value) for a, b, value in survey.audit.similarities]
    # The contradictions first, then the least similar: those are the ones to judge by eye.
    found.sort(key=lambda pair: (labels[pair[0]] == labels[pair[1]], pair[2]))
    chosen = found[:_PAIRS]

    def draw() -> Figure:
        columns = min(4, len(chosen))
        lines = -(-len(chosen) // columns)
        figure = new_figure(3.3 * columns, 2.05 * lines + 0.2)
        grid = figure.subplots(lines, 2 * columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for number, (first, second, value) in enumerate(chosen):
            pair = grid[number // columns, 2 * (number % columns) : 2 * (number % columns) + 2]
            for axes, at, note in zip(pair, (first, second), (f"{value:.3f}", "")):
                _show(axes, survey, at)
                name = survey.records[at].file.rsplit("/", 1)[-1]
                axes.set_title(f"{short(name, 16)}\n{note}", fontsize=7)
        return figure

    rows = [
        (survey.records[first].file, survey.records[second].file, labels[first], labels[second], value)
        for first, second, value in found
    ]
    return Chart(
        "duplicate_pairs",
        "Images",
        "Near duplicates to look at",
        f"{len(chosen)} of {len(found)} pairs with their similarity: those of two classes first, then the "
        "least similar.",
        Table(("file", "other", "class", "other_class", "similarity"), rows),
        draw,
    )


def _show(axes: Axes, survey: Survey, position: int) -> None:
    try:
        pixels = read_image(survey.dataset.path(survey.records[position])).pixels
    except ImageError:  # it could be read a moment ago
        return
    step = max(1, max(pixels.shape) // 400)
    axes.imshow(pixels[::step, ::step], cmap="gray", vmin=0, vmax=1)
