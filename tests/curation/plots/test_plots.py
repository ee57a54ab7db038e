"""The charts' numbers against the files, and that every chart can be drawn and is on the page."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungcls.curation.plots import Chart, make_charts, write_plots, write_tables
from lungcls.curation.plots.counting import is_covid
from lungcls.curation.plots.style import colours, hatches
from lungcls.curation.survey import Survey, take_survey
from lungcls.data import ClassFolders, MaskFolder, RadiographyDatabase
from lungcls.labels import CLASSES, NOTICE
from lungcls.render.drawing import COLOURS


def counted(items: Iterable[Any], total: int, seen: list[tuple[int, int]]) -> Iterator[Any]:
    """A progress that notes how far it is."""
    for done, item in enumerate(items, start=1):
        seen.append((done, total))
        yield item


@pytest.fixture
def survey(manifest_database: Path) -> Survey:
    folder = manifest_database / "COVID" / "images"
    (folder / "COVID-2.png").write_bytes((folder / "COVID-3.png").read_bytes())
    (folder / "COVID-4.png").write_bytes(b"broken")
    database = RadiographyDatabase(manifest_database)
    database.records = database.records[:-12]  # half of Viral Pneumonia is left
    return take_survey(database)


def rows_of(charts: Sequence[Chart], name: str) -> list[dict[str, Any]]:
    (chart,) = [chart for chart in charts if chart.name == name]
    return [dict(zip(chart.table.columns, row)) for row in chart.table.rows]


def test_counts_are_those_of_the_files(survey: Survey) -> None:
    charts = make_charts(survey)
    bars = {row["class"]: row["images"] for row in rows_of(charts, "class_distribution_bar")}
    assert bars == {"COVID": 24, "Lung_Opacity": 24, "Normal": 24, "Viral Pneumonia": 12}
    assert rows_of(charts, "class_distribution_pie")[3]["share"] == pytest.approx(12 / 84)
    sides = {row["side"]: row["images"] for row in rows_of(charts, "covid_against_rest")}
    assert sides == {"COVID-19": 24, "the rest": 60}
    imbalance = {row["class"]: row for row in rows_of(charts, "imbalance")}
    assert imbalance["Viral Pneumonia"]["largest_to_this"] == 2
    assert imbalance["Viral Pneumonia"]["balanced_weight"] == pytest.approx(84 / (4 * 12))
    assert imbalance["Viral Pneumonia"]["extreme"] == "smallest"
    masks = {row["class"]: row for row in rows_of(charts, "masks")}
    assert (masks["COVID"]["usable"], masks["COVID"]["none"]) == (23, 1)
    sources = {(row["source"], row["class"]): row["images"] for row in rows_of(charts, "sources")}
    assert sources["kermany", "Viral Pneumonia"] == 12
    files = {row["state"]: row["files"] for row in rows_of(charts, "files")}
    assert (files["usable"], files["unreadable"]) == (83, 1)
    copies = [row for row in rows_of(charts, "duplicates") if row["finding"] == "identical files"]
    assert [row["file"] for row in copies] == ["COVID/images/COVID-2.png", "COVID/images/COVID-3.png"]


def test_augmentation_fills_the_training_part_alone(survey: Survey) -> None:
    assert survey.split is not None
    train = dict.fromkeys(CLASSES, 0)
    for record in survey.records:
        train[record.label] += survey.split.parts[record.file] == "train"
    rows = {row["class"]: row for row in rows_of(make_charts(survey, augment_to=40), "augmentation_counts")}
    for name in CLASSES:
        assert (rows[name]["films"], rows[name]["after"]) == (train[name], 40)
        assert rows[name]["uses_of_a_film"] == pytest.approx(40 / train[name])
    default = rows_of(make_charts(survey), "augmentation_counts")
    assert {row["after"] for row in default} == {max(train.values())}


def test_grey_values_are_those_of_the_pixels(survey: Survey, manifest_database: Path) -> None:
    charts = make_charts(survey)
    points = {row["file"]: row for row in rows_of(charts, "mean_std")}
    assert len(points) == 83
    file = "Normal/images/Normal-5.png"
    pixels = np.asarray(Image.open(manifest_database / file)) / 255
    assert points[file]["mean"] == pytest.approx(pixels.mean(), abs=1e-6)
    assert points[file]["std"] == pytest.approx(pixels.std(), abs=1e-6)
    levels = rows_of(charts, "histograms")
    assert len(levels) == 256
    assert sum(row["Normal"] for row in levels) == pytest.approx(1, abs=1e-4)
    placed = rows_of(charts, "mean_std_images")
    assert {row["file"] for row in placed} <= set(points)
    assert {row["class"] for row in placed} == set(CLASSES)
    brightest = max(row["mean"] for row in points.values() if row["class"] == "Normal")
    values = {(row["class"], row["value"]): row for row in rows_of(charts, "grey_values")}
    assert values["Normal", "mean"]["largest"] == pytest.approx(brightest)


def test_all_is_written_and_on_the_page(survey: Survey, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    charts = make_charts(survey)
    seen: list[tuple[int, int]] = []
    written = write_plots(
        survey, tmp_path, charts, progress=lambda items, total, text: counted(items, total, seen)
    )
    assert all(path.is_file() for path in written)
    assert seen[-1] == (len(charts), len(charts))
    page = written[-1].read_text(encoding="utf-8")
    assert NOTICE in page
    # Nothing from elsewhere, and nothing that is not there.
    assert not re.search(r"(?:src|href)=\"(?:https?:|//|/)", page)
    for link in re.findall(r"(?:src|href)=\"([^\"#]+)\"", page):
        assert (tmp_path / link).is_file()
    for chart in charts:
        assert f'src="{chart.name}.png"' in page
        with Image.open(tmp_path / f"{chart.name}.png") as picture:
            assert min(picture.size) > 100
            assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 2
    assert "COVID-4.png" in page
    with (tmp_path / "images.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert len(rows) == 84
    assert rows["COVID/images/COVID-3.png"]["copies"] == "files"
    assert rows["COVID/images/COVID-4.png"]["mean"] == ""
    assert (
        "cannot be decoded" in rows["COVID/images/COVID-4.png"]["error"]
        or "found" in (rows["COVID/images/COVID-4.png"]["error"])
    )
    assert float(rows["COVID/images/COVID-3.png"]["lung_share"]) > 0.05


def test_names_in_the_page_are_escaped(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for label in ("<b>ill", "well"):
        path = tmp_path / "set" / label / "a.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    survey = take_survey(ClassFolders(tmp_path / "set"))
    page = write_plots(survey, tmp_path / "out", make_charts(survey))[-1].read_text(encoding="utf-8")
    assert "<b>ill" not in page
    assert "&lt;b&gt;ill" in page


def test_tables_need_no_matplotlib_and_images_need_no_classes(
    original_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    survey = take_survey(MaskFolder(original_database / "Normal"))
    charts = make_charts(survey)
    written = write_tables(survey, tmp_path, charts)
    assert {"images.csv", "summary.json", "problems.csv", "masks.csv"} <= {path.name for path in written}
    assert "covid_against_rest" not in {chart.name for chart in charts}


@pytest.mark.parametrize(
    ("name", "covid"),
    [("COVID", True), ("Pneumonia/COVID-19", True), ("covid", True), ("NonCOVID", False), ("non", False)],
)
def test_which_class_is_covid(name: str, covid: bool) -> None:
    assert is_covid(name) == covid


def test_more_classes_than_colours_are_told_apart_by_patterns() -> None:
    names = tuple(f"class {number}" for number in range(len(COLOURS) + 3))
    pairs = {(colours(names)[name], hatches(names)[name]) for name in names}
    assert len(pairs) == len(names)
