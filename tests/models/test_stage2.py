"""Any network by name as stage 2 of the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lungcls.labels import CLASSES
from lungcls.models import create_model
from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline
from lungcls.weights import save_weights

SMALL = {
    "cnn-4conv": {"size": 64},
    "cnn-strided": {"size": 64},
    "cnn-vgg-bn": {"size": 64},
    "mobilenet-v2": {},
    "mobilenet-v3-small": {},
    "efficientnet-b0": {},
}
LARGE = ["vgg16", "resnet50", "resnet101", "densenet121", "densenet169", "densenet201"]


def _check(
    model: dict[str, Any],
    region: str,
    segmenter: Path,
    folder: Path,
    values: Any,
    classes: tuple[str, ...] = CLASSES,
) -> None:
    architecture = {**model, "classes": len(classes)}
    torch.manual_seed(0)
    path = save_weights(
        folder,
        create_model(architecture).state_dict(),
        **values(
            architecture=architecture, input_size=64, classes=classes,
            region={"name": region, "margin": 0.05, "dilate": 0.0},
        ),
    )  # fmt: skip
    pipeline = Pipeline(classifier=path, segmenter=segmenter, device="cpu")
    found = pipeline.predict(chest_phantom(80, seed=1).image)
    assert list(found.probabilities) == list(classes)
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert found.region == region or found.fallback


@pytest.mark.parametrize(
    ("name", "region"), list(zip(SMALL, ["full", "crop", "mask", "background", "silhouette", "mask"]))
)
def test_a_network_predicts(
    name: str, region: str, tiny_segmenter: Path, tmp_path: Path, make_card_values: Any
) -> None:
    _check({"model": name, **SMALL[name]}, region, tiny_segmenter, tmp_path, make_card_values)


@pytest.mark.parametrize("classes", [("covid", "non"), ("a", "b", "c")])
def test_other_classes(
    classes: tuple[str, ...], tiny_segmenter: Path, tmp_path: Path, make_card_values: Any
) -> None:
    model = {"model": "cnn-strided", "size": 64}
    _check(model, "full", tiny_segmenter, tmp_path, make_card_values, classes)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_large_network_predicts(
    name: str, tiny_segmenter: Path, tmp_path: Path, make_card_values: Any
) -> None:
    _check({"model": name}, "mask", tiny_segmenter, tmp_path, make_card_values)
