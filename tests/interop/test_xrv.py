"""The faces of lungcls that users of torchxrayvision expect; no weights are downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lungcls.data import open_dataset
from lungcls.errors import OptionError
from lungcls.export.modules import PipelineModule, stage_module
from lungcls.finder import Finder
from lungcls.phantom import chest_phantom

xrv = pytest.importorskip("torchxrayvision", reason="the extra xrv is not installed")


def test_a_dataset_of_lungcls_does_what_those_of_torchxrayvision_do(manifest_database: Path) -> None:
    from lungcls.interop.xrv import FilmDataset

    dataset = open_dataset(manifest_database)
    resized = FilmDataset(dataset, transform=xrv.datasets.XRayResizer(32), semantic_masks=True)
    assert resized.pathologies == list(dataset.classes)
    assert resized.labels.shape == (len(dataset), 4)
    assert resized.totals()["COVID"] == {1.0: 24, 0.0: 72}
    item = resized[0]
    assert item["img"].shape == item["semantic_masks"]["Lungs"].shape == (1, 32, 32)
    assert -1024 <= item["img"].min() < item["img"].max() <= 1024
    merged = xrv.datasets.MergeDataset([resized, xrv.datasets.SubsetDataset(resized, [3, 4])])
    assert len(merged) == len(dataset) + 2
    np.testing.assert_array_equal(merged[len(dataset)]["img"], resized[3]["img"])
    wanted = ["Normal", "COVID", "Effusion"]
    xrv.datasets.relabel_dataset(wanted, resized, silent=True)
    assert resized.pathologies == wanted
    assert np.isnan(resized.labels[:, 2]).all()


def test_stage_1_gives_masks_to_any_dataset(manifest_database: Path, dark_segmenter: Any) -> None:
    from lungcls.interop.xrv import FilmDataset, WithLungs

    dataset = open_dataset(manifest_database)
    with_lungs = WithLungs(FilmDataset(dataset), Finder(dark_segmenter, None))
    item = with_lungs[2]
    expected = dataset[2].image.pixels < 0.3
    np.testing.assert_array_equal(item["semantic_masks"]["Lungs"][0] > 0.5, expected)
    assert len(with_lungs) == len(dataset)
    with pytest.raises(OptionError, match="expected a dataset of torchxrayvision"):
        WithLungs(dataset, Finder(dark_segmenter, None))


def test_the_model_answers_as_the_exported_pipeline_does(stages: dict[str, Path]) -> None:
    from lungcls.interop.xrv import Model

    model = Model(stages["classification"], stages["segmentation"])
    assert model.pathologies == model.targets == ["COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"]
    film = np.rint(chest_phantom((90, 70), seed=2).image * 255).astype(np.uint8)
    with torch.inference_mode():
        found = model(torch.from_numpy(xrv.utils.normalize(film, 255, reshape=True))[None])
    module = PipelineModule(
        *stage_module(stages["segmentation"], "segmentation"),
        *stage_module(stages["classification"], "classification"),
    ).eval()
    with torch.inference_mode():
        expected = module(torch.from_numpy(film)[None])[1]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-3)
    with pytest.raises(OptionError, match=r"expected \[-1024, 1024\]"):
        model(torch.rand(1, 1, 32, 32))
    with pytest.raises(OptionError, match="expected \\[batch, 1, height, width\\]"):
        model(torch.zeros(1, 3, 32, 32))
