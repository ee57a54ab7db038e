"""Pictures and tables of a dataset, and a page that shows them all."""

from __future__ import annotations

from pathlib import Path

from lungcls.curation.plots.chart import Chart, Table
from lungcls.curation.plots.counting import counting_charts
from lungcls.curation.plots.facts import problems, summary
from lungcls.curation.plots.grey import grey_charts
from lungcls.curation.plots.grids import grid_charts
from lungcls.curation.survey import Survey
from lungcls.files import atomic_write, write_json
from lungcls.progress import Progress, quiet
from lungcls.render.drawing import require_matplotlib
from lungcls.render.html import write_page

__all__ = ["Chart", "Table", "make_charts", "write_plots", "write_tables"]


def make_charts(survey: Survey, *, augment_to: int | None = None, seed: int = 0) -> list[Chart]:
    """Return all charts that a dataset allows; nothing is drawn yet.

    Parameters
    ----------
    survey : Survey
    augment_to : int, optional
        Images a class that the chart of augmentation counts to; by default those of the largest class.
    seed : int, default=0
        Of the samples and of the order in which images are placed.
    """
    return [*counting_charts(survey, augment_to), *grey_charts(survey, seed), *grid_charts(survey, seed)]


def write_tables(survey: Survey, out: str | Path, charts: list[Chart]) -> list[Path]:
    """Write the numbers of all charts, one row an image, what is wrong with files, and the summary.

    Parameters
    ----------
    survey : Survey
    out : path-like
        Folder; files of the same names are replaced.
    charts : list of Chart

    Returns
    -------
    list of Path
    """
    folder = Path(out)
    written = [chart.table.write(folder / f"{chart.name}.csv") for chart in charts]
    written.append(_images(survey).write(folder / "images.csv"))
    written.append(Table(("file", "problem"), problems(survey)).write(folder / "problems.csv"))
    path = folder / "summary.json"
    write_json(path, survey.summary(), ensure_ascii=False)
    return [*written, path]


def write_plots(
    survey: Survey, out: str | Path, charts: list[Chart], *, progress: Progress[Chart] = quiet
) -> list[Path]:
    """Write all tables and pictures, and ``index.html``, which shows them.

    Parameters
    ----------
    survey : Survey
    out : path-like
        Folder; files of the same names are replaced.
    charts : list of Chart
    progress : callable, optional
        As :data:`lungcls.progress.Progress`.

    Returns
    -------
    list of Path
        The page last.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    require_matplotlib()
    import lungcls

    folder = Path(out)
    written = write_tables(survey, folder, charts)
    for chart in progress(charts, len(charts), "drawing"):
        path = folder / f"{chart.name}.png"
        with atomic_write(path) as file:
            figure = chart.draw()
            # Wide figures are shown smaller.
            size = 12 * max(1.0, figure.get_figwidth() / 10)
            figure.suptitle(chart.title, fontsize=size, fontweight="bold")
            figure.savefig(file, format="png", dpi=110, bbox_inches="tight", pad_inches=0.12)
        written.append(path)
    page = write_page(
        folder / "index.html",
        "dataset.html",
        title=survey.dataset.root.resolve().name,
        sections=list(dict.fromkeys(chart.section for chart in charts)),
        summary=summary(survey),
        notes=survey.dataset.notes,
        problems=problems(survey),
        charts=charts,
        version=lungcls.__version__,
    )
    return [*written, page]


def _images(survey: Survey) -> Table:
    columns = (
        *("file", "class", "source", "patient", "part", "height", "width", "mode", "bytes"),
        *("mean", "std", "min", "max", "mask", "lung_share", "copies", "error"),
    )  # fmt: skip
    audit = survey.audit
    # The strictest kind last, so that it is the one that stays.
    groups = (*audit.near, *audit.identical_pixels, *audit.identical_files)
    copies = {file: group.kind for group in groups for file in group.files}
    rows = []
    for record, one, mask in zip(survey.records, survey.scan.facts, survey.masks):
        values = (one.mean, one.std, one.min, one.max) if not one.error else ("",) * 4
        size = (one.height, one.width) if not one.error else ("", "")
        part = survey.split.parts.get(record.file, "") if survey.split else record.part
        area = mask.area if mask.state == "usable" else ""
        rows.append(
            (
                *(record.file, record.label, record.source, record.patient, part, *size, one.mode, one.bytes),
                *(*values, mask.state, area, copies.get(record.file, ""), one.error),
            )
        )
    return Table(columns, rows)
