from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungcls.data import RadiographyDatabase, Record
from lungcls.data.views import drawn_lungs, find_lungs, lung_views, region_views, segmentation_pairs
from lungcls.errors import DataError, ImageError
from lungcls.finder import Finder
from lungcls.images import read_image
from lungcls.lungs import Lungs
from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline
from lungcls.regions import REGIONS, Mask, Region, letterbox, resize_mask, view
from lungcls.segmenter import Segmenter


@pytest.fixture
def database(original_database: Path) -> RadiographyDatabase:
    return RadiographyDatabase(original_database)


def _pixels(database: RadiographyDatabase, record: Record) -> np.ndarray:
    return read_image(database.path(record)).pixels


def _true_lungs(database: RadiographyDatabase) -> list[Lungs]:
    return list(drawn_lungs(database, database.records).values())


def _with_mask(database: RadiographyDatabase, record: Record, mask: Mask) -> Lungs:
    return Finder(None, None).find([read_image(database.path(record))], [mask])[0]


class _Brightness:
    """Stands in for a trained network: the dark middle of a phantom is lung."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, views: np.ndarray) -> np.ndarray:
        self.calls += 1
        # Logit 0 at the grey level 0.4, as of a network with mean 0.5 and std 0.25.
        return np.float32(-80) * (views[:, None] / np.float32(255) - np.float32(0.4))


@pytest.fixture
def network() -> _Brightness:
    return _Brightness()


@pytest.fixture
def finder(tiny_segmenter: Path, network: _Brightness) -> Finder:
    return Finder(Segmenter(Segmenter.load(tiny_segmenter, "cpu").card, network), None)


def test_segmentation_pairs(database: RadiographyDatabase) -> None:
    """Masks of another size than their images land on the lungs all the same."""
    chosen = database.records[::3]
    views, masks = segmentation_pairs(database, chosen, 96)
    assert views.shape == masks.shape == (len(chosen), 96, 96)
    assert views.dtype == masks.dtype == np.uint8
    assert masks.max() == 255
    for index, record in enumerate(chosen):
        np.testing.assert_array_equal(views[index], letterbox(_pixels(database, record), 96)[0])
        position, number = divmod(database.records.index(record), 2)
        truth = chest_phantom(96, seed=10 * position + number + 1).mask
        found = masks[index] > 127
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.96


def test_pairs_need_masks_and_images(database: RadiographyDatabase) -> None:
    record = database.records[0]
    with pytest.raises(DataError, match=r"COVID-1\.png has no lung mask"):
        segmentation_pairs(database, [replace(record, mask="")], 32)
    database.path(record).write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"COVID-1\.png"):
        segmentation_pairs(database, database.records, 32)


@pytest.mark.parametrize("name", REGIONS)
def test_region_views_are_cut_along_the_drawn_masks(database: RadiographyDatabase, name: str) -> None:
    region = Region(name, margin=0.1, dilate=0.02)
    lungs = _true_lungs(database)[:3]
    views = region_views(lungs, region, 48)
    assert views.dtype == np.uint8
    for seen, record, one in zip(views, database.records, lungs):
        pixels = _pixels(database, record)
        mask = resize_mask(database.read_mask(record), pixels.shape)
        np.testing.assert_array_equal(one.mask, mask)
        np.testing.assert_array_equal(seen, view(pixels, mask, region, 48))


@pytest.mark.parametrize(("shown", "region"), [("mask", "mask"), ("full", "full")])
def test_lungs_beside_a_view_make_the_view(database: RadiographyDatabase, shown: str, region: str) -> None:
    films, size = _true_lungs(database), 64
    views, shares = lung_views(films, Region(region, dilate=0.02), size)
    expected = region_views(films, Region(shown, dilate=0.02), size)
    if region == "full":
        np.testing.assert_array_equal(views, expected)
        assert all(0.1 < (one > 127).mean() < 0.5 for one in shares)
    else:
        # But for the edge, which is cut before the picture is made smaller, or after it.
        inside, outside = shares == 255, shares == 0
        assert np.abs(views[inside].astype(int) - expected[inside]).max() <= 1
        assert not expected[outside].any()
        assert views[outside].any()


def test_without_a_usable_mask_all_is_lung(database: RadiographyDatabase) -> None:
    records = [replace(record, mask="") for record in database.records[:2]]
    films = list(drawn_lungs(database, records).values())
    assert [film.quality.reasons[0].name for film in films] == ["no_lungs", "no_lungs"]
    views, shares = lung_views(films, Region("mask"), 32)
    np.testing.assert_array_equal(views, region_views(films, Region("full"), 32))
    assert (shares == 255).all()


def test_the_whole_image_stands_in_for_bad_masks(database: RadiographyDatabase) -> None:
    films = _true_lungs(database)[:4]
    one, two, three, _ = database.records[:4]
    half = films[2].mask.copy()
    half[:, : half.shape[1] // 2] = False
    films[0] = next(iter(drawn_lungs(database, [replace(one, mask="")]).values()))
    films[1] = _with_mask(database, two, np.zeros_like(films[1].mask))
    films[2] = _with_mask(database, three, half)
    views = region_views(films, Region("crop"), 48)
    for seen, record in zip(views[:3], database.records):
        np.testing.assert_array_equal(seen, view(_pixels(database, record), None, Region("full"), 48))
    expected = view(_pixels(database, database.records[3]), films[3].mask, Region("crop"), 48)
    np.testing.assert_array_equal(views[3], expected)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_training_sees_what_the_pipeline_sees(
    database: RadiographyDatabase, tiny_segmenter: Path, tiny_classifier: Path, tmp_path: Path, share: float
) -> None:
    """From the file to stage 2's tensor: the same bytes on both roads, whatever the mask is like."""

    class Drawn(Segmenter):
        def segment_with_agreement(self, images: Any, aspects: Any = None) -> list[tuple[Mask, float]]:
            masks = [resize_mask(chest_phantom(128, seed=1).mask, image.shape) for image in images]
            for mask in masks:
                mask[:, : int(mask.shape[1] * share)] = False
            return [(mask, 1.0) for mask in masks]

    loaded = Segmenter.load(tiny_segmenter, "cpu")
    drawn = Drawn(loaded.card, loaded.network)
    pipeline = Pipeline(classifier=tiny_classifier, segmenter=drawn, gate=None, device="cpu")
    chosen = database.records[:2]
    lungs = find_lungs(database, chosen, pipeline.finder, tmp_path)
    card = pipeline.classifier.card
    views = region_views(list(lungs.values()), pipeline.classifier.region, card.input_size)
    predictions = pipeline.predict([database.path(record) for record in chosen])
    for prediction, seen, record in zip(predictions, views, chosen):
        assert prediction.fallback == (share > 0)
        np.testing.assert_array_equal(prediction.lungs.mask, lungs[record.file].mask)
        np.testing.assert_array_equal(prediction.view, seen)


def test_lungs_are_found_once(
    database: RadiographyDatabase, finder: Finder, network: _Brightness, tmp_path: Path
) -> None:
    first = find_lungs(database, database.records, finder, tmp_path / "cache", batch_size=3)
    assert network.calls == 3
    assert list(first) == [record.file for record in database.records]
    for record in database.records:
        expected = finder.find([read_image(database.path(record))])[0]
        assert expected.mask.any()
        np.testing.assert_array_equal(first[record.file].mask, expected.mask)
        np.testing.assert_array_equal(first[record.file].pixels(), expected.pixels())
    calls = network.calls
    second = find_lungs(database, database.records, finder, tmp_path / "cache")
    assert network.calls == calls
    assert second.keys() == first.keys()
    for file, one in first.items():
        assert second[file].mask.dtype == np.bool_
        np.testing.assert_array_equal(second[file].mask, one.mask)
        assert second[file].to_dict() == one.to_dict()
        assert second[file].quality == one.quality
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_what_changes_the_masks_makes_another_cache(
    database: RadiographyDatabase, finder: Finder, tmp_path: Path
) -> None:
    chosen = database.records[:2]

    def files() -> int:
        find_lungs(database, chosen, finder, tmp_path)
        return len(list(tmp_path.glob("*.npz")))

    assert [files(), files()] == [1, 1]
    assert finder.segmenter is not None
    finder.segmenter.card = replace(finder.segmenter.card, sha256="0" * 64)  # other weights
    assert files() == 2
    finder.segmenter.card = replace(finder.segmenter.card, thresholds={"mask": 0.4})
    assert files() == 3
    finder.segmenter.fill_holes = False
    assert files() == 4
    finder.segmenter.keep_parts = 1
    assert files() == 5
    status = database.path(chosen[0]).stat()
    os.utime(database.path(chosen[0]), ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))  # another image
    assert files() == 6
    chosen = database.records[:3]
    assert files() == 7
    assert files() == 7


@pytest.mark.parametrize("damage", ["empty", "half", "text", "bits"])
def test_a_damaged_cache_is_made_anew(
    database: RadiographyDatabase,
    finder: Finder,
    network: _Brightness,
    tmp_path: Path,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    chosen = database.records[:2]
    first = find_lungs(database, chosen, finder, tmp_path)
    (path,) = tmp_path.glob("*.npz")
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "empty": b"",
            "half": whole[:middle],
            "text": b"no masks",
            "bits": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        }[damage]
    )
    calls = network.calls
    again = find_lungs(database, chosen, finder, tmp_path)
    assert network.calls == calls + 1
    assert f"{path}: the cached masks are not readable" in caplog.text
    for file, one in first.items():
        np.testing.assert_array_equal(again[file].mask, one.mask)
    assert path.read_bytes() == whole


def test_a_cache_that_was_cut_short_leaves_no_file(
    database: RadiographyDatabase, finder: Finder, tmp_path: Path
) -> None:
    database.path(database.records[-1]).write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"Viral Pneumonia-2\.png"):
        find_lungs(database, database.records, finder, tmp_path / "cache", batch_size=2)
    assert not list(tmp_path.glob("cache/*"))


def test_no_records(database: RadiographyDatabase, finder: Finder, tmp_path: Path) -> None:
    assert find_lungs(database, [], finder, tmp_path) == {}
    assert region_views([], Region("full"), 32).shape == (0, 32, 32)


def test_progress_is_told(database: RadiographyDatabase, finder: Finder, tmp_path: Path) -> None:
    told = []

    def progress(items: Iterable[int], total: int, text: str) -> Iterable[int]:
        items = list(items)
        told.append((len(items), total, text))
        return items

    lungs = find_lungs(database, database.records, finder, tmp_path, batch_size=3, progress=progress)
    region_views(list(lungs.values()), Region("full"), 32, progress)
    segmentation_pairs(database, database.records, 32, progress=progress)
    assert [entry[:2] for entry in told] == [(3, 3), (8, 8), (8, 8)]
    assert all(text for _, _, text in told)


def test_real_images(real_data: Path, finder: Finder, tmp_path: Path) -> None:
    database = RadiographyDatabase(real_data / "radiography")
    chosen = [record for record in database.records if record.mask][::1500]
    views, masks = segmentation_pairs(database, chosen, 64)
    assert (masks.mean((1, 2)) > 0.05 * 255).all()
    # Lungs are darker than the rest of the chest.
    assert (views[masks == 255].mean()) < views[masks == 0].mean()
    predicted = find_lungs(database, chosen, finder, tmp_path)
    assert [predicted[record.file].mask.shape for record in chosen] == [
        _pixels(database, record).shape for record in chosen
    ]
