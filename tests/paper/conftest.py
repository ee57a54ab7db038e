"""A small run on phantoms: weights that were never trained, and a real evaluation of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lungcls.cli.main import app
from lungcls.data import make_split, open_dataset
from lungcls.weights import save_weights


@dataclass(frozen=True)
class Run:
    """Folders of a run: the training's, the evaluation's, the dataset's."""

    training: Path
    results: Path
    data: Path


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    _manifest: Path,
    tiny_segmenter: Path,
    make_card_values: Callable[..., dict[str, Any]],
) -> Run:
    import torch

    from lungcls.models import create_model

    root = tmp_path_factory.mktemp("run")
    data = Path(shutil.copytree(_manifest, root / "data"))
    dataset = open_dataset(data)
    split = make_split(dataset.records, seed=0)
    split.write_csv(root / "run" / "split.csv")
    (root / "run" / "history.csv").write_text(
        "epoch,size,train_loss,validation_loss,validation_macro_f1\n0,64,1.4,1.4,0.2\n1,64,1.3,1.3,0.3\n"
    )
    images = {
        part: {
            name: sum(r.label == name for r in split.select(dataset.records, part))
            for name in dataset.classes
        }
        for part in ("train", "validation")
    }
    architecture = {"model": "cnn-4conv", "classes": 4, "channels": 1, "size": 64}
    torch.manual_seed(0)
    values = make_card_values(
        name="tiny",
        architecture=architecture,
        input_size=64,
        classes=dataset.classes,
        temperature=1.5,
        training_data={
            "dataset": dataset.title,
            "images": images,
            "split_seed": 0,
            "split_hash": split.hash,
        },
    )
    weights = save_weights(root / "run", create_model(architecture).state_dict(), **values)
    command = ["evaluate", "--data", data, "--split", root / "run" / "split.csv", "--classifier", weights]
    command += ["--segmenter", tiny_segmenter, "-o", root / "results", "--resamples", 50, "--no-plots"]
    done = CliRunner().invoke(app, [*map(str, command), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    return Run(root / "run", root / "results", data)
