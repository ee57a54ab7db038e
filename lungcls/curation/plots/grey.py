"""Charts of grey values: mean against standard deviation, histograms, distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from lungcls.curation.plots.chart import Chart, Table
from lungcls.curation.plots.style import PALE, colours, dot_style, legend_right, plain, short
from lungcls.curation.scan import BINS
from lungcls.curation.survey import Survey
from lungcls.render.drawing import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEAN: Final = "mean grey level (0 black, 1 white)"
_STD: Final = "standard deviation of the grey levels"
_COLUMNS: Final = 3  # facets side by side
_TILE: Final = 44  # pixels of an image that stands for itself in a plane
_FRAME: Final = 3
_LARGE: Final = 17  # points, in a figure of 15 inches


def grey_charts(survey: Survey, seed: int) -> list[Chart]:
    """Return the charts of grey values; none where no image can be read."""
    if not survey.usable():
        return []
    return [
        _scatter(survey, seed),
        _facets(survey),
        _placed(survey, seed),
        _histograms(survey),
        _distributions(survey),
    ]


class _Points:
    """Mean and standard deviation of all usable images, and which class each is of."""

    def __init__(self, survey: Survey) -> None:
        self.positions = survey.usable()
        facts = [survey.scan.facts[position] for position in self.positions]
        self.mean = np.asarray([one.mean for one in facts])
        self.std = np.asarray([one.std for one in facts])
        labels = survey.labels
        self.labels = np.asarray([labels[position] for position in self.positions], dtype=object)


def _scatter(survey: Survey, seed: int) -> Chart:
    points = _Points(survey)

    def draw() -> Figure:
        figure = new_figure(9, 6)
        axes = figure.add_subplot()
        colour = colours(survey.classes)
        # In a random order, so that no class lies on top of another because of its name.
        order = np.random.default_rng(seed).permutation(len(points.mean))
        shades = [colour[label] for label in points.labels[order]]
        dots = dot_style(len(order))
        axes.scatter(points.mean[order], points.std[order], c=shades, linewidths=0, **dots)
        for name in survey.classes:
            axes.scatter([], [], color=colour[name], s=30, label=short(name))
        _plane(axes, points)
        legend_right(axes)
        return figure

    rows = [
        (survey.records[position].file, label, mean, std)
        for position, label, mean, std in zip(points.positions, points.labels, points.mean, points.std)
    ]
    return Chart(
        "mean_std",
        "Grey values",
        "Brightness and contrast of every image",
        "One dot an image. Classes that lie apart here can be told by exposure and processing alone.",
        Table(("file", "class", "mean", "std"), rows),
        draw,
    )


def _facets(survey: Survey) -> Chart:
    points = _Points(survey)

    def draw() -> Figure:
        names = survey.classes
        columns = min(_COLUMNS if len(names) != 4 else 2, len(names))
        lines = -(-len(names) // columns)
        figure = new_figure(3.8 * columns + 0.6, 3.2 * lines + 0.4)
        colour = colours(names)
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, name in zip(grid.flat, names):
            own = points.labels == name
            axes.scatter(points.mean[~own], points.std[~own], s=5, color=PALE, linewidths=0, rasterized=True)
            dots = dot_style(int(own.sum()))
            axes.scatter(points.mean[own], points.std[own], color=colour[name], linewidths=0, **dots)
            axes.set_title(f"{short(name)} ({own.sum()})")
            plain(axes, grid="both")
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel(_MEAN)
        figure.supylabel(_STD)
        return figure

    rows = []
    for name in survey.classes:
        own = points.labels == name
        if own.any():
            mean, std = points.mean[own], points.std[own]
            rows.append(
                (name, int(own.sum()), *(float(f(v)) for v in (mean, std) for f in (np.mean, np.std)))
            )
    columns = ("class", "images", "mean_of_mean", "sd_of_mean", "mean_of_std", "sd_of_std")
    return Chart(
        "mean_std_facets",
        "Grey values",
        "Brightness and contrast, class by class",
        "The same plane once for each class; all other images are pale behind it.",
        Table(columns, rows),
        draw,
    )


def _placed(survey: Survey, seed: int) -> Chart:
    points = _Points(survey)
    width, height = 1440, 960
    spans = [_span(points.mean), _span(points.std)]
    across = (points.mean - spans[0][0]) / (spans[0][1] - spans[0][0]) * (width - _TILE) + _TILE / 2
    down = (1 - (points.std - spans[1][0]) / (spans[1][1] - spans[1][0])) * (height - _TILE) + _TILE / 2
    chosen = _spread(across, down, points.labels, seed)

    def draw() -> Figure:
        colour = colours(survey.classes)
        canvas = PillowImage.new("RGB", (width, height), "white")
        for index in chosen:
            small = survey.scan.small[points.positions[index]]
            picture = PillowImage.fromarray(np.rint(small * 255).clip(0, 255).astype(np.uint8))
            tile = PillowImage.new("RGB", (_TILE, _TILE), colour[points.labels[index]])
            tile.paste(picture.resize((_TILE - 2 * _FRAME,) * 2).convert("RGB"), (_FRAME, _FRAME))
            canvas.paste(tile, (round(across[index] - _TILE / 2), round(down[index] - _TILE / 2)))
        figure = new_figure(15, 9.4)
        axes = figure.add_subplot()
        # The middles of the outermost images lie half an image inside the canvas.
        margins = [
            (high - low) * _TILE / (2 * (size - _TILE)) for (low, high), size in zip(spans, (width, height))
        ]
        extent = (
            spans[0][0] - margins[0], spans[0][1] + margins[0], spans[1][0] - margins[1], spans[1][1] +
            margins[1],
        )  # fmt: skip
        axes.imshow(np.asarray(canvas), extent=extent, aspect="auto", interpolation="antialiased")
        for name in survey.classes:
            axes.scatter([], [], color=colour[name], marker="s", s=160, label=short(name))
        # The figure is wide, so that its images can be told apart: its text must grow with it.
        axes.set_xlabel(_MEAN, fontsize=_LARGE)
        axes.set_ylabel(_STD, fontsize=_LARGE)
        axes.tick_params(labelsize=_LARGE)
        plain(axes)
        legend_right(axes, fontsize=_LARGE, handletextpad=0.2)
        return figure

    rows = [
        (
            survey.records[points.positions[index]].file,
            points.labels[index],
            float(points.mean[index]),
            float(points.std[index]),
        )
        for index in chosen
    ]
    return Chart(
        "mean_std_images",
        "Grey values",
        "The images themselves at their brightness and contrast",
        f"The middle of each image stands at its mean and standard deviation; {len(chosen)} of "
        f"{len(points.mean)} have "
        "room without hiding another (taken class by class in a random order). Frames have the colour of "
        "the class, "
        "images are stretched to squares.",
        Table(("file", "class", "mean", "std"), rows),
        draw,
    )


def _spread(
    across: NDArray[np.float64], down: NDArray[np.float64], labels: NDArray[np.object_], seed: int
) -> list[int]:
    """Choose images that do not cover each other, one of each class in turn."""
    generator = np.random.default_rng(seed)
    queues = [
        generator.permutation(np.flatnonzero(labels == name)).tolist() for name in dict.fromkeys(labels)
    ]
    longest = max(len(queue) for queue in queues)
    order = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    cells: dict[tuple[int, int], list[int]] = {}
    chosen = []
    for index in order:
        column, row = int(across[index] // _TILE), int(down[index] // _TILE)
        near = (
            other for x in (-1, 0, 1) for y in (-1, 0, 1) for other in cells.get((column + x, row + y), ())
        )
        if any(abs(across[index] - across[o]) < _TILE and abs(down[index] - down[o]) < _TILE for o in near):
            continue
        cells.setdefault((column, row), []).append(index)
        chosen.append(index)
    return chosen


def _histograms(survey: Survey) -> Chart:
    labels = np.asarray(survey.labels, dtype=object)
    usable = np.zeros(len(labels), bool)
    usable[survey.usable()] = True
    means = {
        name: survey.scan.histograms[usable & (labels == name)].mean(0)
        for name in survey.classes
        if (usable & (labels == name)).any()
    }

    def draw() -> Figure:
        figure = new_figure(9, 5)
        axes = figure.add_subplot()
        colour = colours(survey.classes)
        for name, values in means.items():
            axes.plot(np.arange(BINS), values * 100, color=colour[name], linewidth=1.6, label=short(name))
        # Black borders and burnt-out letters would flatten all that lies between.
        inner = max(float(values[1:-1].max()) for values in means.values()) * 100
        axes.set(
            xlabel="grey level (0 black, 255 white)", ylabel="pixels (%), mean of the images",
            xlim=(0, BINS - 1), ylim=(0, inner * 1.1),
        )  # fmt: skip
        plain(axes, grid="both")
        legend_right(axes)
        return figure

    ends = "; ".join(f"{name} {v[0]:.1%} black, {v[-1]:.1%} white" for name, v in means.items())
    rows = [(level, *(float(values[level]) for values in means.values())) for level in range(BINS)]
    return Chart(
        "histograms",
        "Grey values",
        "Grey levels of each class",
        "Mean over the images of a class of the share of pixels at each level; every image counts the "
        "same. The "
        f"ends of the scale may reach beyond the picture: {ends}.",
        Table(("level", *means), rows),
        draw,
    )


def _distributions(survey: Survey) -> Chart:
    facts = survey.scan.facts
    labels = survey.labels
    names = ("mean", "std", "min", "max")
    values = {
        (name, label): np.asarray(
            [getattr(one, name) for one, own in zip(facts, labels) if own == label and not one.error]
        )
        for name in names
        for label in survey.classes
    }

    def draw() -> Figure:
        figure = new_figure(10, 6.4)
        colour = colours(survey.classes)
        for axes, name in zip(figure.subplots(2, 2).flat, names):
            every = np.concatenate([values[name, label] for label in survey.classes])
            edges = np.linspace(*_span(every), 41)
            for label in survey.classes:
                own = values[name, label]
                if len(own):
                    shares = np.histogram(own, edges)[0] / len(own) * 100
                    axes.stairs(shares, edges, color=colour[label], linewidth=1.5, label=short(label))
            axes.set(xlabel=f"{name} of the grey levels of an image", ylabel="images of the class (%)")
            plain(axes, grid="y")
        legend_right(figure.axes[1])
        return figure

    rows = [
        (label, name, len(own), *_quantiles(own))
        for label in survey.classes
        for name in names
        if len(own := values[name, label])
    ]
    columns = (
        "class",
        "value",
        "images",
        "average",
        "sd",
        "smallest",
        "quarter",
        "median",
        "three_quarters",
        "largest",
    )
    return Chart(
        "grey_values",
        "Grey values",
        "Mean, standard deviation, minimum and maximum of the images",
        "How the four values are distributed in each class; images.csv has them image by image.",
        Table(columns, rows),
        draw,
    )


def _quantiles(values: NDArray[np.float64]) -> Sequence[float]:
    return [float(v) for v in (values.mean(), values.std(), *np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))]


def _plane(axes: Axes, points: _Points) -> None:
    axes.set(xlabel=_MEAN, ylabel=_STD, xlim=_span(points.mean), ylim=_span(points.std))
    plain(axes, grid="both")


def _span(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = max(0.03 * (high - low), 0.005)
    return low - margin, high + margin
