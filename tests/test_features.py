from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lungcls
from lungcls.errors import OptionError
from lungcls.phantom import chest_phantom


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"film {number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        pixels = np.rint(chest_phantom(90, seed=number).image * 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def test_the_head_of_the_features_gives_the_logits(
    tiny_classifier: Path, dark_segmenter: Any, films: list[Path]
) -> None:
    import torch

    pipe = lungcls.Pipeline(classifier=tiny_classifier, segmenter=dark_segmenter, gate=None, device="cpu")
    vectors = pipe.features(films)
    assert vectors.shape == (3, 1024)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(pipe.features(films[1]), vectors[1], rtol=1e-3, atol=1e-4)
    predictions = pipe.predict(films)
    views = np.stack([one.view for one in predictions])
    with torch.inference_mode():
        logits = pipe.classifier.module.classifier(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(logits, pipe.classifier.logits(views), rtol=1e-4, atol=1e-5)


def test_failures_stay_in_their_places(stages: dict[str, Path], films: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    pipe = lungcls.Pipeline(
        classifier=stages["classification"],
        segmenter=stages["segmentation"],
        gate=None,
        device="cpu",
        engine="torch",
    )
    found = list(pipe.features_stream([films[0], broken, films[1]], on_error="return"))
    assert [type(one).__name__ for one in found] == ["Features", "Failure", "Features"]


def test_other_engines_are_refused(stages: dict[str, Path], films: list[Path]) -> None:
    pytest.importorskip("onnxruntime")
    pipe = lungcls.Pipeline(
        classifier=stages["classification"],
        segmenter=stages["segmentation"],
        gate=None,
        engine="onnxruntime",
    )
    with pytest.raises(OptionError, match=r"give the \.safetensors weights and engine='torch'"):
        pipe.features(films[0])


@pytest.mark.parametrize("suffix", [".parquet", ".npy"])
def test_the_command_writes_a_table(
    suffix: str, stages: dict[str, Path], films: list[Path], tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from lungcls.cli.main import app

    out = tmp_path / f"embedded{suffix}"
    stage_options = ["--classifier", stages["classification"], "--segmenter", stages["segmentation"]]
    words = ["features", *films, "-o", out, *stage_options, "--gate", "none", "--device", "cpu"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    if suffix == ".npy":
        assert np.load(out).shape[0] == 3
        assert (tmp_path / "embedded.csv").read_text().startswith("path,fallback,ok,reasons\n")
    else:
        table = pytest.importorskip("pyarrow.parquet").read_table(out)
        assert table.column_names == ["path", "fallback", "ok", "reasons", "features"]
        assert table["path"].to_pylist() == [str(path) for path in films]
