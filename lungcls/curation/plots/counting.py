"""Charts of counts: classes, sources, parts, masks, files, sizes, copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lungcls.curation.plots.chart import Chart, Table
from lungcls.curation.plots.style import (
    GREY,
    PALE,
    colours,
    dot_style,
    hatches,
    legend_right,
    plain,
    short,
)
from lungcls.curation.survey import Survey
from lungcls.data.splits import PARTS
from lungcls.render.drawing import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 15  # bars of a chart whose number of bars the data decide


def counting_charts(survey: Survey, augment_to: int | None) -> list[Chart]:
    """Return the charts of counts that a dataset allows."""
    charts = [_bar(survey), _pie(survey)]
    covid = _covid_against_rest(survey)
    charts += [covid] if covid else []
    if len(survey.classes) > 1:
        charts += [_imbalance(survey), _augmentation(survey, augment_to)]
    parts = _parts(survey)
    charts += [parts] if parts else []
    return [*charts, _sources(survey), _masks(survey), _files(survey), _sizes(survey), _modes(survey)]


def is_covid(name: str) -> bool:
    """Return whether a class is COVID-19, and not what some sets call "non-COVID"."""
    words = name.lower()
    return "covid" in words and not words.startswith(("non", "no ", "not"))


def _bar(survey: Survey) -> Chart:
    counts = survey.counts()
    total = sum(counts.values())

    def draw() -> Figure:
        return _bars(counts, "images", colours(survey.classes), total=total)

    return Chart(
        "class_distribution_bar",
        "Classes",
        "Images in each class",
        f"{total} images in {len(counts)} classes; the share of all images stands beside each bar.",
        Table(("class", "images", "share"), [(n, c, c / total) for n, c in counts.items()]),
        draw,
    )


def _pie(survey: Survey) -> Chart:
    counts = {name: count for name, count in survey.counts().items() if count}
    total = sum(counts.values())

    def draw() -> Figure:
        figure = new_figure(7, 4.6)
        axes = figure.add_subplot()
        colour, hatch = colours(survey.classes), hatches(survey.classes)
        drawn = axes.pie(
            list(counts.values()),
            colors=[colour[name] for name in counts],
            startangle=90,
            counterclock=False,
            wedgeprops={"edgecolor": "white", "linewidth": 1.5},
        )
        for wedge, name in zip(drawn[0], counts):
            wedge.set_hatch(hatch[name])
        names = [f"{short(name)}: {count} ({count / total:.1%})" for name, count in counts.items()]
        legend_right(axes, handles=list(drawn[0]), labels=names)
        return figure

    return Chart(
        "class_distribution_pie",
        "Classes",
        "Share of each class",
        "The same counts as parts of the whole.",
        Table(("class", "images", "share"), [(n, c, c / total) for n, c in counts.items()]),
        draw,
    )


def _covid_against_rest(survey: Survey) -> Chart | None:
    counts = survey.counts()
    covid = sum(count for name, count in counts.items() if is_covid(name))
    rest = sum(counts.values()) - covid
    if not covid or not rest:
        return None
    pair = {"COVID-19": covid, "the rest": rest}

    def draw() -> Figure:
        return _bars(pair, "images", {"COVID-19": COLOURS[3], "the rest": GREY}, total=covid + rest)

    names = ", ".join(name for name in counts if not is_covid(name))
    return Chart(
        "covid_against_rest",
        "Classes",
        "COVID-19 against the rest",
        f"One COVID-19 image comes with {rest / covid:.2f} others ({names}). Who always answers with the "
        "larger "
        f"side is right in {max(covid, rest) / (covid + rest):.1%} of all images.",
        Table(("side", "images", "share"), [(n, c, c / (covid + rest)) for n, c in pair.items()]),
        draw,
    )


def _imbalance(survey: Survey) -> Chart:
    counts = {name: count for name, count in survey.counts().items() if count}
    total = sum(counts.values())
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    ratios = {name: counts[largest] / count for name, count in counts.items()}

    def draw() -> Figure:
        return _bars(ratios, f"images of {short(largest)} for one of this class", colours(survey.classes))

    rows = [
        (name, count, ratios[name], total / (len(counts) * count), _mark(name, largest, smallest))
        for name, count in counts.items()
    ]
    return Chart(
        "imbalance",
        "Classes",
        "Imbalance of the classes",
        f"The largest class is {largest} ({counts[largest]} images), the smallest {smallest} "
        f"({counts[smallest]}): "
        f"{ratios[smallest]:.2f} to 1. The table also has the balanced weight of each class, images / "
        "(classes x "
        "images of the class).",
        Table(("class", "images", "largest_to_this", "balanced_weight", "extreme"), rows),
        draw,
    )


def _mark(name: str, largest: str, smallest: str) -> str:
    return {largest: "largest", smallest: "smallest"}.get(name, "") if largest != smallest else ""


def _augmentation(survey: Survey, augment_to: int | None) -> Chart:
    split = survey.split
    chosen = [r for r in survey.records if split is None or split.parts.get(r.file) == "train"]
    counted = Counter(record.label for record in chosen)
    before = {name: counted[name] for name in survey.dataset.classes}
    target = max(before.values()) if augment_to is None else augment_to
    added = {name: max(0, target - count) if count else 0 for name, count in before.items()}

    def draw() -> Figure:
        names = list(before)
        figure = new_figure(8, 1.6 + 0.62 * len(names))
        axes = figure.add_subplot()
        colour = colours(survey.classes)
        after = [before[name] + added[name] for name in names]
        axes.barh(names, list(before.values()), color=[colour[name] for name in names])
        axes.barh([], [], color=GREY, label="films")
        axes.barh(
            names, list(added.values()), left=list(before.values()), label="made by augmentation",
            color=PALE, hatch="//", edgecolor=GREY, linewidth=0.5,
        )  # fmt: skip
        for position, name in enumerate(names):
            text = f" {before[name]}" + (f" + {added[name]}" if added[name] else "")
            axes.text(after[position], position, text, va="center")
        axes.axvline(target, color="black", linewidth=0.8, linestyle=":")
        axes.set(xlabel="images", xlim=(0, max([*after, 1]) * 1.3))
        axes.invert_yaxis()
        plain(axes, grid="x")
        legend_right(axes)
        return figure

    part = f"the training part ({survey.split_note})" if split else "all images (no split can be made)"
    rows = [(n, c, added[n], c + added[n], (c + added[n]) / c if c else 0.0) for n, c in before.items()]
    return Chart(
        "augmentation_counts",
        "Classes",
        f"What augmentation to {target} images a class would change",
        f"Counted in {part}. Validation and test stay as they are: copies of an image in another part "
        "would leak. "
        "The table says how often each film of a class would be used on average.",
        Table(("class", "films", "added", "after", "uses_of_a_film"), rows),
        draw,
    )


def _parts(survey: Survey) -> Chart | None:
    split = survey.split
    if split is None:
        return None
    counts = {
        part: Counter(
            label
            for record, label in zip(survey.records, survey.labels)
            if split.parts.get(record.file) == part
        )
        for part in PARTS
    }

    def draw() -> Figure:
        rows = {part: {name: counts[part][name] for name in survey.classes} for part in PARTS}
        return _stacked(rows, "images", survey.classes, colours(survey.classes))

    rows = [(part, name, counts[part][name]) for part in PARTS for name in survey.classes]
    absent = [f"{part}: {name}" for part, name, count in rows if not count]
    note = f" Without an image: {'; '.join(absent)}." if absent else ""
    inner = " (its validation part is taken from the training images)"
    own = inner if survey.official and not any(r.part == "validation" for r in survey.records) else ""
    crossing = len(survey.audit.across_parts)
    leak = f" {crossing} groups of copies lie in more than one part: they leak." if crossing else ""
    return Chart(
        "parts",
        "Classes",
        "Classes in the parts of the split",
        f"{survey.split_note[0].upper()}{survey.split_note[1:]}{own}, hash {split.hash}.{note}{leak}",
        Table(("part", "class", "images"), rows),
        draw,
    )


def _sources(survey: Survey) -> Chart:
    pairs = Counter((r.source or "not known", label) for r, label in zip(survey.records, survey.labels))
    totals: Counter[str] = Counter()
    for (source, _), count in pairs.items():
        totals[source] += count
    order = sorted(totals, key=lambda source: (-totals[source], source))

    def draw() -> Figure:
        shown = {
            short(source, 36): {name: pairs[source, name] for name in survey.classes}
            for source in order[:_SHOWN]
        }
        if len(order) > _SHOWN:
            rest = order[_SHOWN:]
            shown[f"{len(rest)} others"] = {n: sum(pairs[s, n] for s in rest) for n in survey.classes}
        return _stacked(shown, "images", survey.classes, colours(survey.classes))

    rows = [(s, n, pairs[s, n]) for s in order for n in survey.classes if pairs[s, n]]
    lonely = [n for n in survey.classes if len({s for s in order if pairs[s, n]}) == 1 and len(order) > 1]
    note = f" All images of {', '.join(lonely)} come from one source." if lonely else ""
    return Chart(
        "sources",
        "Files",
        "Where the images come from",
        "A class that goes with a source can be told by the source instead of the disease." + note,
        Table(("source", "class", "images"), rows),
        draw,
    )


def _masks(survey: Survey) -> Chart:
    states = ("usable", "empty", "unreadable", "none")
    counts: Counter[tuple[str, str]] = Counter(
        (label, mask.state) for label, mask in zip(survey.labels, survey.masks)
    )

    def draw() -> Figure:
        shades = dict(zip(states, (COLOURS[0], COLOURS[1], COLOURS[3], PALE)))
        rows = {name: {state: counts[name, state] for state in states} for name in survey.classes}
        return _stacked(rows, "images", states, shades)

    usable = sum(mask.state == "usable" for mask in survey.masks)
    areas = sorted(mask.area for mask in survey.masks if mask.state == "usable")
    area = f" The lungs fill {areas[len(areas) // 2]:.1%} of the mask at the median." if areas else ""
    return Chart(
        "masks",
        "Files",
        "Lung masks",
        f"{usable} of {len(survey.masks)} images have a lung mask that can be read and is not empty; every "
        "mask file "
        f"was opened.{area}",
        Table(
            ("class", *states),
            [(name, *(counts[name, state] for state in states)) for name in survey.classes],
        ),
        draw,
    )


def _files(survey: Survey) -> Chart:
    dataset, audit = survey.dataset, survey.audit
    counts = {
        "usable": len(survey.usable()),
        "unreadable": len(audit.unreadable),
        "constant": len(audit.constant),
        "named, not there": len(dataset.missing_files),
        **{f"left out: {reason}": count for reason, count in dataset.dropped.items()},
    }

    def draw() -> Figure:
        return _bars(counts, "files", dict.fromkeys(counts, COLOURS[0]))

    return Chart(
        "files",
        "Files",
        "What became of the files",
        "Usable files are those that all other charts are made from; the page's tables name the others.",
        Table(("state", "files"), list(counts.items())),
        draw,
    )


def _sizes(survey: Survey) -> Chart:
    sizes = Counter((one.height, one.width) for one in survey.scan.facts if not one.error)
    order = sorted(sizes, key=lambda size: (-sizes[size], size))

    def draw() -> Figure:
        if len(order) <= _SHOWN:
            bars = {f"{height} x {width}": sizes[height, width] for height, width in order}
            return _bars(bars, "images", dict.fromkeys(bars, COLOURS[0]))
        figure = new_figure(8, 5.5)
        axes = figure.add_subplot()
        colour = colours(survey.classes)
        for name in survey.classes:
            points = [
                (one.width, one.height)
                for one, label in zip(survey.scan.facts, survey.labels)
                if label == name and not one.error
            ]
            if points:
                axes.scatter(*zip(*points), color=colour[name], linewidths=0, **dot_style(len(points)))
            axes.scatter([], [], color=colour[name], s=30, label=short(name))
        axes.set(xlabel="width (pixels)", ylabel="height (pixels)")
        axes.set_aspect("equal", adjustable="datalim")
        plain(axes, grid="both")
        legend_right(axes)
        return figure

    common = f"{order[0][0]} x {order[0][1]}" if order else "none"
    return Chart(
        "sizes",
        "Files",
        "Sizes of the images",
        f"{len(order)} different sizes (height x width); the most frequent is {common}.",
        Table(("height", "width", "images"), [(*size, sizes[size]) for size in order]),
        draw,
    )


def _modes(survey: Survey) -> Chart:
    modes = Counter(
        (one.mode, label) for one, label in zip(survey.scan.facts, survey.labels) if not one.error
    )
    names = sorted({mode for mode, _ in modes})

    def draw() -> Figure:
        rows = {mode: {name: modes[mode, name] for name in survey.classes} for mode in names}
        return _stacked(rows, "images", survey.classes, colours(survey.classes))

    rows = [(mode, name, modes[mode, name]) for mode in names for name in survey.classes if modes[mode, name]]
    return Chart(
        "modes",
        "Files",
        "File formats and colour modes",
        "Formats that go with a class leave traces (of compression, for one) that a model can learn.",
        Table(("mode", "class", "images"), rows),
        draw,
    )


def _bars(values: Mapping[str, float], label: str, colour: Mapping[str, str], *, total: int = 0) -> Figure:
    names = list(values)
    figure = new_figure(8, 1.4 + 0.46 * len(names))
    axes = figure.add_subplot()
    heights = list(values.values())
    axes.barh(range(len(names)), heights, color=[colour[name] for name in names])
    for position, value in enumerate(heights):
        text = f" {value:.2f}" if isinstance(value, float) else f" {value}"
        axes.text(value, position, text + (f" ({value / total:.1%})" if total else ""), va="center")
    axes.set(xlabel=label, xlim=(0, max([*heights, 1]) * 1.2))
    axes.set_yticks(range(len(names)), [short(name, 34) for name in names])
    axes.invert_yaxis()
    plain(axes, grid="x")
    return figure


def _stacked(
    rows: Mapping[str, Mapping[str, int]], label: str, names: Sequence[str], colour: Mapping[str, str]
) -> Figure:
    figure = new_figure(9, 1.6 + 0.46 * len(rows))
    axes = figure.add_subplot()
    places = range(len(rows))
    left = [0] * len(rows)
    pattern = hatches(tuple(names))
    for name in names:
        widths = [row[name] for row in rows.values()]
        axes.barh(
            places, widths, left=left, color=colour[name], hatch=pattern[name], label=short(name),
            edgecolor="white", linewidth=0.5,
        )  # fmt: skip
        left = [start + width for start, width in zip(left, widths)]
    for place, total in zip(places, left):
        axes.text(total, place, f" {total}", va="center")
    axes.set(xlabel=label, xlim=(0, max([*left, 1]) * 1.12))
    axes.set_yticks(places, list(rows))
    axes.invert_yaxis()
    plain(axes, grid="x")
    legend_right(axes)
    return figure
