from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lungcls.data.mapped import new_views
from lungcls.training.datamodule import ViewDataset, Views


def test_views_on_disk_are_used_as_those_in_memory_are(tmp_path: Path) -> None:
    mapped, plain = new_views(20, 8, tmp_path / "views"), new_views(20, 8)
    assert isinstance(mapped, np.memmap)
    assert not isinstance(plain, np.memmap)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 8, 8), np.uint8)
    mapped[:], plain[:] = pixels, pixels
    assert list((tmp_path / "views").iterdir()) == []
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1)).tolist()
    labels = np.arange(20)
    batches = [
        list(DataLoader(ViewDataset(Views(views, labels), None, 3), 4, sampler=order, num_workers=workers))
        for views in (mapped, plain)
        for workers in (0, 1)
    ]
    for other in batches[1:]:
        for one, same in zip(batches[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        new_views(1, 8, tmp_path / "file")
    assert new_views(0, 8, tmp_path / "none").shape == (0, 8, 8)
