from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungcls.curation.scan import scan_images
from lungcls.curation.survey import UNLABELLED, take_survey
from lungcls.data import ClassFolders, MaskFolder, RadiographyDatabase
from lungcls.errors import DataError


def counted(items: Iterable[Any], total: int, seen: list[tuple[int, int]]) -> Iterator[Any]:
    """A progress that notes how far it is."""
    for done, item in enumerate(items, start=1):
        seen.append((done, total))
        yield item


def test_a_scan_measures_grey_values(tmp_path: Path) -> None:
    pixels = np.zeros((4, 10), np.uint8)
    pixels[:, 5:] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / "flat.png")
    (tmp_path / "text.png").write_text("no picture")
    names = ("half.png", "flat.png", "text.png", "gone.png")
    seen: list[tuple[int, int]] = []
    scan = scan_images(
        [tmp_path / name for name in names], progress=lambda items, total, text: counted(items, total, seen)
    )
    half, flat, text, gone = scan.facts
    assert (half.mean, half.std, half.min, half.max) == (0.5, 0.5, 0.0, 1.0)
    assert (half.height, half.width, half.mode) == (4, 10, "PNG L")
    assert half.bytes == (tmp_path / "half.png").stat().st_size
    assert scan.histograms[0, [0, 255]].tolist() == [0.5, 0.5]
    assert flat.constant
    assert "found text" in text.error
    assert not text.constant
    assert "no such file" in gone.error
    assert not scan.small[1:].any()
    assert not scan.histograms[1:].any()
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_survey_counts_what_files_hold(manifest_database: Path) -> None:
    (manifest_database / "COVID/images/COVID-1.png").write_bytes(b"broken")
    (manifest_database / "Normal/masks/Normal-1.png").write_bytes(b"broken")
    blank = Image.fromarray(np.zeros((64, 64), np.uint8))
    blank.save(manifest_database / "Normal/masks/Normal-2.png")
    survey = take_survey(RadiographyDatabase(manifest_database))
    assert survey.counts() == dict.fromkeys(survey.classes, 24)
    assert len(survey.usable()) == 95
    found = survey.summary()
    assert found["masks"] == {"usable": 90, "empty": 1, "unreadable": 1, "none": 4}
    assert list(found["unreadable"]) == ["COVID/images/COVID-1.png"]
    assert found["sizes"] == {"64x64": 95}
    assert sum(found["split_counts"].values()) == 96
    json.dumps(found)
    state = {record.file: mask for record, mask in zip(survey.records, survey.masks)}
    truth = RadiographyDatabase(manifest_database).records[2]
    assert state[truth.file].area == pytest.approx(
        RadiographyDatabase(manifest_database).read_mask(truth).mean()
    )


def test_an_own_split_is_looked_at_for_leaks(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 2)):
        for label in ("a", "b"):
            for number in range(count):
                path = tmp_path / part / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(generator.integers(0, 255, (64, 64), np.uint8)).save(path)
    (tmp_path / "test/a/1.png").write_bytes((tmp_path / "train/a/3.png").read_bytes())
    survey = take_survey(ClassFolders(tmp_path))
    assert survey.official
    (leak,) = survey.audit.across_parts
    assert leak.files == ("test/a/1.png", "train/a/3.png")


def test_a_dataset_too_small_for_a_split_or_without_classes(original_database: Path) -> None:
    survey = take_survey(MaskFolder(original_database / "COVID"))
    assert survey.split is None
    assert "needs at least 20 images" in survey.split_note
    assert survey.classes == (UNLABELLED,)
    assert survey.counts() == {UNLABELLED: 2}


def test_no_images_is_an_error(manifest_database: Path) -> None:
    dataset = RadiographyDatabase(manifest_database)
    dataset.records = []
    with pytest.raises(DataError, match="no images to look at"):
        take_survey(dataset)
