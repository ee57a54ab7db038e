from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungcls.data import RadiographyDatabase, Record
from lungcls.data.views import lung_views, predicted_masks, region_views, segmentation_pairs
from lungcls.errors import DataError, ImageError
from lungcls.images import read_image
from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline
from lungcls.quality import mask_quality
from lungcls.regions import REGIONS, Mask, Region, letterbox, resize_mask, view
from lungcls.segmenter import Segmenter


@pytest.fixture
def database(original_database: Path) -> RadiographyDatabase:
    return RadiographyDatabase(original_database)


def _pixels(database: RadiographyDatabase, record: Record) -> np.ndarray:
    return read_image(database.path(record)).pixels


def _true_masks(database: RadiographyDatabase) -> dict[str, Mask]:
    return {
        record.file: resize_mask(database.read_mask(record), _pixels(database, record).shape)
        for record in database.records
    }


class _Brightness:
    """Stands in for a trained network: the dark middle of a phantom is lung."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, views: np.ndarray) -> np.ndarray:
        self.calls += 1
        # Logit 0 at the grey level 0.4, as of a network with mean 0.5 and std 0.25.
        return np.float32(-80) * (views[:, None] / np.float32(255) - np.float32(0.4))


@pytest.fixture
def segmenter(tiny_segmenter: Path) -> Segmenter:
    loaded = Segmenter.load(tiny_segmenter, "cpu")
    loaded.network = _Brightness()
    return loaded


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
def test_region_views_are_the_views_of_prediction(database: RadiographyDatabase, name: str) -> None:
    masks = _true_masks(database)
    chosen = database.records[:3]
    region = Region(name, margin=0.1, dilate=0.02)
    views = region_views(database, chosen, region, 48, masks)
    assert views.dtype == np.uint8
    for seen, record in zip(views, chosen):
        np.testing.assert_array_equal(seen, view(_pixels(database, record), masks[record.file], region, 48))


@pytest.mark.parametrize(("shown", "region"), [("mask", "mask"), ("full", "full")])
def test_lungs_beside_a_view_make_the_view(database: RadiographyDatabase, shown: str, region: str) -> None:
    masks, size = _true_masks(database), 64
    views, lungs = lung_views(database, database.records, Region(region, dilate=0.02), size, masks)
    expected = region_views(database, database.records, Region(shown, dilate=0.02), size, masks)
    if region == "full":
        np.testing.assert_array_equal(views, expected)
        assert all(0.1 < (one > 127).mean() < 0.5 for one in lungs)
    else:
        # But for the edge, which is cut before the picture is made smaller, or after it.
        inside, outside = lungs == 255, lungs == 0
        assert np.abs(views[inside].astype(int) - expected[inside]).max() <= 1
        assert not expected[outside].any()
        assert views[outside].any()


def test_without_a_usable_mask_all_is_lung(database: RadiographyDatabase) -> None:
    records = database.records[:2]
    views, lungs = lung_views(database, records, Region("mask"), 32, {})
    np.testing.assert_array_equal(views, region_views(database, records, Region("full"), 32, {}))
    assert (lungs == 255).all()


def test_the_whole_image_stands_in_for_bad_masks(database: RadiographyDatabase) -> None:
    masks = _true_masks(database)
    one, two, three, four, *_ = [record.file for record in database.records]
    del masks[one]
    masks[two][:] = False
    masks[three][:, : masks[three].shape[1] // 2] = False  # one lung
    assert not mask_quality(masks[three]).ok
    chosen = database.records[:4]
    views = region_views(database, chosen, Region("crop"), 48, masks)
    for seen, record in zip(views[:3], chosen):
        np.testing.assert_array_equal(seen, view(_pixels(database, record), None, Region("full"), 48))
    expected = view(_pixels(database, chosen[3]), masks[four], Region("crop"), 48)
    np.testing.assert_array_equal(views[3], expected)


@pytest.mark.parametrize("lungs", ["none", "one", "both"])
def test_training_sees_what_the_pipeline_sees(
    database: RadiographyDatabase,
    segmenter: Segmenter,
    tiny_segmenter: Path,
    tiny_classifier: Path,
    tmp_path: Path,
    lungs: str,
) -> None:
    """From the file to stage 2's tensor: the same bytes on both roads, whatever the mask is like."""

    def masks_of(images: Iterable[np.ndarray]) -> list[tuple[Mask, float]]:
        made = [resize_mask(chest_phantom(128, seed=1).mask, image.shape) for image in images]
        for mask in made:
            mask[:, : {"none": mask.shape[1], "one": mask.shape[1] // 2, "both": 0}[lungs]] = False
        return [(mask, 1.0) for mask in made]

    pipeline = Pipeline(classifier=tiny_classifier, segmenter=tiny_segmenter, device="cpu")
    segmenter.segment_with_agreement = masks_of
    pipeline.segmenter = segmenter
    chosen = database.records[:2]
    masks = predicted_masks(database, chosen, segmenter, tmp_path)
    card = pipeline.classifier.card
    views = region_views(database, chosen, pipeline.classifier.region, card.input_size, masks)
    predictions = pipeline.predict([database.path(record) for record in chosen])
    for prediction, seen, record in zip(predictions, views, chosen):
        assert prediction.fallback == (lungs != "both")
        np.testing.assert_array_equal(prediction.lung_mask, masks[record.file])
        np.testing.assert_array_equal(prediction.view, seen)


def test_masks_are_predicted_once(
    database: RadiographyDatabase, segmenter: Segmenter, tmp_path: Path
) -> None:
    first = predicted_masks(database, database.records, segmenter, tmp_path / "cache", batch_size=3)
    assert segmenter.network.calls == 3
    assert list(first) == [record.file for record in database.records]
    for record in database.records:
        expected = segmenter.segment([_pixels(database, record)])[0]
        assert expected.any()
        np.testing.assert_array_equal(first[record.file], expected)
    calls = segmenter.network.calls
    second = predicted_masks(database, database.records, segmenter, tmp_path / "cache")
    assert segmenter.network.calls == calls
    assert second.keys() == first.keys()
    for file, mask in first.items():
        assert second[file].dtype == np.bool_
        np.testing.assert_array_equal(second[file], mask)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_what_changes_the_masks_makes_another_cache(
    database: RadiographyDatabase, segmenter: Segmenter, tmp_path: Path
) -> None:
    chosen = database.records[:2]

    def files() -> int:
        predicted_masks(database, chosen, segmenter, tmp_path)
        return len(list(tmp_path.glob("*.npz")))

    assert [files(), files()] == [1, 1]
    segmenter.card = replace(segmenter.card, sha256="0" * 64)  # other weights
    assert files() == 2
    segmenter.card = replace(segmenter.card, thresholds={"mask": 0.4})
    assert files() == 3
    segmenter.fill_holes = False
    assert files() == 4
    segmenter.keep_parts = 1
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
    segmenter: Segmenter,
    tmp_path: Path,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    chosen = database.records[:2]
    first = predicted_masks(database, chosen, segmenter, tmp_path)
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
    calls = segmenter.network.calls
    again = predicted_masks(database, chosen, segmenter, tmp_path)
    assert segmenter.network.calls == calls + 1
    assert f"{path}: the cached masks are not readable" in caplog.text
    for file, mask in first.items():
        np.testing.assert_array_equal(again[file], mask)
    assert path.read_bytes() == whole


def test_a_cache_that_was_cut_short_leaves_no_file(
    database: RadiographyDatabase, segmenter: Segmenter, tmp_path: Path
) -> None:
    database.path(database.records[-1]).write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"Viral Pneumonia-2\.png"):
        predicted_masks(database, database.records, segmenter, tmp_path / "cache", batch_size=2)
    assert not list(tmp_path.glob("cache/*"))


def test_no_records(database: RadiographyDatabase, segmenter: Segmenter, tmp_path: Path) -> None:
    assert predicted_masks(database, [], segmenter, tmp_path) == {}
    assert region_views(database, [], Region("full"), 32, {}).shape == (0, 32, 32)


def test_progress_is_told(database: RadiographyDatabase, segmenter: Segmenter, tmp_path: Path) -> None:
    told = []

    def progress(items: Iterable[int], total: int, text: str) -> Iterable[int]:
        items = list(items)
        told.append((len(items), total, text))
        return items

    predicted_masks(database, database.records, segmenter, tmp_path, batch_size=3, progress=progress)
    region_views(database, database.records, Region("full"), 32, {}, progress)
    segmentation_pairs(database, database.records, 32, progress)
    assert [entry[:2] for entry in told] == [(3, 3), (8, 8), (8, 8)]
    assert all(text for _, _, text in told)


def test_real_images(real_data: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    database = RadiographyDatabase(real_data / "radiography")
    chosen = [record for record in database.records if record.mask][::1500]
    views, masks = segmentation_pairs(database, chosen, 64)
    assert (masks.mean((1, 2)) > 0.05 * 255).all()
    # Lungs are darker than the rest of the chest.
    assert (views[masks == 255].mean()) < views[masks == 0].mean()
    predicted = predicted_masks(database, chosen, segmenter, tmp_path)
    assert [predicted[record.file].shape for record in chosen] == [
        _pixels(database, record).shape for record in chosen
    ]
