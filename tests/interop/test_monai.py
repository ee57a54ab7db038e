"""A MONAI bundle runs, and answers as the library does."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import lungcls
from lungcls import read_image
from lungcls.cli.main import app
from lungcls.export.modules import PipelineModule, stage_module
from lungcls.phantom import chest_phantom

pytest.importorskip("monai", reason="the extra monai is not installed")
pytest.importorskip("ignite", reason="the extra monai is not installed")


@pytest.fixture(scope="module")
def bundles(stages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command fills: a bundle for lungs, and one from film to class."""
    folder = tmp_path_factory.mktemp("bundles")
    command = ["export", *map(str, stages.values()), "-o", str(folder), "--format", "monai"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films of different sizes, the one of 16 bits."""
    folder = tmp_path_factory.mktemp("films")
    for name, shape, depth in (("a", (90, 70), 255), ("b", (64, 80), 65535)):
        pixels = chest_phantom(shape, seed=len(name) + depth).image * depth
        Image.fromarray(np.rint(pixels).astype(np.uint8 if depth == 255 else np.uint16)).save(
            folder / f"{name}.png"
        )
    return folder


def _run(bundle: Path, films: Path, out: Path) -> None:
    from monai.bundle import run

    run(
        config_file=str(bundle / "configs" / "inference.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        bundle_root=str(bundle),
        dataset_dir=str(films),
        output_dir=str(out),
        device="cpu",
    )


def _expected(stages: dict[str, Path], film: Path) -> tuple[np.ndarray, np.ndarray]:
    """Lungs and probabilities by the graph that is compared with the library itself in tests/export."""
    first = stage_module(stages["segmentation"], "segmentation")
    module = PipelineModule(*first, *stage_module(stages["classification"], "classification")).eval()
    with torch.inference_mode():
        mask, probabilities, _ = module.answer(torch.from_numpy(read_image(film).pixels)[None])
    return mask[0].numpy(), probabilities[0].numpy()


@pytest.mark.slow
def test_the_bundle_for_lungs_writes_the_masks_that_the_library_finds(
    stages: dict[str, Path], bundles: Path, films: Path, tmp_path: Path
) -> None:
    _run(bundles / "small-segmenter", films, tmp_path)
    for film in films.iterdir():
        expected, _ = _expected(stages, film)
        found = np.asarray(Image.open(tmp_path / f"{film.stem}_lungs.png")) > 127
        assert found.shape == expected.shape
        assert (found != expected).mean() < 0.001


def test_the_bundle_for_classes_writes_the_probabilities_of_the_library(
    stages: dict[str, Path], bundles: Path, films: Path, tmp_path: Path
) -> None:
    _run(bundles / "small-cnn", films, tmp_path)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = {Path(row[0]).name: [float(value) for value in row[1:]] for row in csv.reader(file)}
    assert set(rows) == {"a.png", "b.png"}
    for name, found in rows.items():
        np.testing.assert_allclose(found, _expected(stages, films / name)[1], atol=1e-3)


def test_monai_verifies_the_metadata_and_the_network(bundles: Path) -> None:
    """MONAI fetches its schema; MONAI_META_SCHEMA names a copy of it where there is no network."""
    schema = os.environ.get("MONAI_META_SCHEMA")
    if not schema:
        pytest.skip("MONAI_META_SCHEMA is not set: no copy of MONAI's schema to verify against")
    path = os.pathsep.join([str(Path(lungcls.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    for bundle in bundles.iterdir():
        meta = ["--meta_file", "configs/metadata.json"]
        network = ["network_def", *meta, "--config_file", "configs/inference.json", "--bundle_root", "."]
        for words in (
            ["verify_metadata", *meta, "--filepath", schema],
            ["verify_net_in_out", *network, "--device", "cpu", "--any", "96"],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "monai.bundle", *words],
                cwd=bundle,
                env={**os.environ, "PYTHONPATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
