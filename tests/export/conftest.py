"""Small stages with an ONNX graph beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lungcls.export import write_graph
from lungcls.models import create_model
from lungcls.weights import save_weights


def _state(architecture: dict[str, Any]) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        state = create_model(architecture).state_dict()
        # As of a trained network: norms that do something.
        for name, value in state.items():
            if name.endswith("running_mean"):
                value.normal_(0, 0.2)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 2)
    return state


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory, make_card_values: Any) -> dict[str, Path]:
    """Weight files of a small segmenter and a small classifier by task, each with its graph."""
    folder = tmp_path_factory.mktemp("stages")
    unet = {"model": "unet", "encoder": "tu-resnet18", "encoder_depth": 2, "decoder_channels": [16, 8]}
    cnn = {"model": "cnn-4conv", "classes": 4, "channels": 1, "size": 64}
    paths = {
        "segmentation": save_weights(
            folder,
            _state(unet),
            **make_card_values(
                name="small-segmenter",
                task="segmentation",
                architecture=unet,
                input_size=64,
                region=None,
                classes=("lung",),
                temperature=1.0,
                thresholds={"mask": 0.5},
            ),
        ),
        "classification": save_weights(
            folder, _state(cnn), **make_card_values(name="small-cnn", architecture=cnn, input_size=64)
        ),
    }
    for path in paths.values():
        write_graph(path)
    return paths
