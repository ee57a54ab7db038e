"""Datasets of torchxrayvision are read as datasets of lungcls; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lungcls.cli.main import app
from lungcls.data import open_dataset
from lungcls.errors import DataError
from lungcls.phantom import chest_phantom

xrv = pytest.importorskip("torchxrayvision", reason="the extra xrv is not installed")


@pytest.fixture
def tuberculosis(tmp_path: Path) -> Path:
    """A folder as the Montgomery set was published: the last digit of a name says who is ill."""
    folder = tmp_path / "MontgomerySet"
    (folder / "CXR_png").mkdir(parents=True)
    for number in range(6):
        pixels = (chest_phantom(64, seed=number).image * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "CXR_png" / f"MCUCXR_{number:04}_{number % 2}.png")
    return folder


def test_a_film_has_the_one_pathology_that_is_present(tuberculosis: Path) -> None:
    dataset = open_dataset(xrv.datasets.NLMTB_Dataset(str(tuberculosis)))
    assert dataset.classes == ("Tuberculosis", "No Finding")
    assert dataset.labels == ["No Finding", "Tuberculosis"] * 3
    assert dataset[1].image.pixels.shape == (64, 64)
    classes = {"Tuberculosis": "ill", "*": "well"}
    assert open_dataset(xrv.datasets.NLMTB_Dataset(str(tuberculosis)), classes=classes).labels[:2] == [
        "well",
        "ill",
    ]


def test_subsets_and_merged_sets_keep_their_films_in_order(tuberculosis: Path) -> None:
    whole = xrv.datasets.NLMTB_Dataset(str(tuberculosis))
    parts = [xrv.datasets.SubsetDataset(whole, [5, 0]), xrv.datasets.SubsetDataset(whole, [2, 5])]
    dataset = open_dataset(xrv.datasets.MergeDataset(parts))
    assert [record.file[-10:] for record in dataset.records] == ["0005_1.png", "0000_0.png", "0002_0.png"]
    assert dataset.dropped == {"image named twice": 1}
    assert {record.source for record in dataset.records} == {"NLMTB"}


def test_several_and_unknown_pathologies_are_left_out_and_counted(tuberculosis: Path) -> None:
    made = xrv.datasets.NLMTB_Dataset(str(tuberculosis))
    made.pathologies = ["Tuberculosis", "Effusion"]
    made.labels = np.array([[1, 1], [0, np.nan], [0, 1], [0, 0], [1, np.nan], [0, 0]], np.float32)
    dataset = open_dataset(made)
    assert dataset.dropped == {"pathologies not known": 1, "several classes": 1}
    assert dataset.labels == ["Effusion", "No Finding", "Tuberculosis", "No Finding"]


def test_the_command_line_names_a_class(tuberculosis: Path) -> None:
    layout = ["--layout", "torchxrayvision.datasets:NLMTB_Dataset"]
    result = CliRunner().invoke(app, ["data", "summary", "--data", str(tuberculosis), *layout])
    assert result.exit_code == 0, result.output
    assert "Tuberculosis" in result.output
    layout = ["--layout", "torchxrayvision.datasets:CheX_Dataset"]
    result = CliRunner().invoke(app, ["data", "summary", "--data", str(tuberculosis), *layout])
    assert result.exit_code == 2
    assert "no film is left" in result.output


def test_a_dataset_without_files_is_refused(tuberculosis: Path) -> None:
    class Other(xrv.datasets.Dataset):
        pathologies, labels, csv = ["a"], np.zeros((1, 1)), xrv.datasets.NLMTB_Dataset(str(tuberculosis)).csv

    with pytest.raises(DataError, match="keeps its films in no files"):
        open_dataset(Other())
