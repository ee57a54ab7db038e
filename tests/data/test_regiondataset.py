from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lungcls.data import Dataset, MaskFolder, RegionDataset, open_dataset
from lungcls.errors import DataError, OptionError
from lungcls.finder import Finder
from lungcls.images import read_image
from lungcls.regions import Region, resize_mask, view


def _some(database: Path) -> Dataset:
    dataset = open_dataset(database)
    return dataset.only(dataset.records[::12])


def test_an_item_is_the_view_that_prediction_cuts(manifest_database: Path) -> None:
    dataset = _some(manifest_database)
    regions = RegionDataset(dataset, region="mask", size=48, masks=None)
    assert len(regions) == len(dataset) == 8
    assert regions.classes == dataset.classes
    for index in (0, 7):
        record = dataset.records[index]
        shown, target = regions[index]
        pixels = read_image(dataset.path(record)).pixels
        mask = resize_mask(dataset.read_mask(record), pixels.shape)
        expected = view(pixels, mask, Region("mask"), 48).astype(np.float32) / 255
        np.testing.assert_array_equal(shown.numpy(), expected[None])
        assert regions.classes[target] == record.label


def test_a_plain_loop_learns_from_a_loader_with_workers(manifest_database: Path) -> None:
    regions = RegionDataset(
        _some(manifest_database), region="full", size=16, transform=lambda view: view.flatten()
    )
    loader = torch.utils.data.DataLoader(regions, batch_size=8, num_workers=1)
    network = torch.nn.Linear(16 * 16, len(regions.classes))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        for views, targets in loader:
            loss = torch.nn.functional.cross_entropy(network(views), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss))
    assert losses[-1] < losses[0]


def test_the_lungs_come_from_stage_1(manifest_database: Path, dark_segmenter: object) -> None:
    dataset = _some(manifest_database)
    regions = RegionDataset(dataset, size=32, masks=Finder(dark_segmenter, None))  # type: ignore[arg-type]
    assert [lungs.segmenter for lungs in regions.lungs] == ["tiny-segmenter"] * 8


def test_films_without_classes_and_impossible_sizes_are_refused(
    manifest_database: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="size is 0"):
        RegionDataset(_some(manifest_database), size=0)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        source = manifest_database / "COVID" / name / "COVID-1.png"
        (tmp_path / name / "a.png").write_bytes(source.read_bytes())
    with pytest.raises(DataError, match="have no classes"):
        RegionDataset(MaskFolder(tmp_path))
