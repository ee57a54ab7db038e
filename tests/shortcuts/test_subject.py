"""Adapters around models of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lungcls.classifier import Classifier
from lungcls.errors import WeightsError
from lungcls.labels import CLASSES
from lungcls.regions import Region
from lungcls.shortcuts import ClassifierSubject, ModuleSubject, Subject
from lungcls.shortcuts.subject import FeatureSubject, load_subject

ADAPTER = """
from torch import nn
from lungcls.shortcuts import ModuleSubject

def adapter():
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.2, 0.3]
    return ModuleSubject(nn.Sequential(*layers), ["COVID", "Normal"], 24, channels=3, mean=mean, std=std)

def number():
    return 3
"""


def _views(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size), dtype=np.uint8)


def test_a_weight_file_answers_as_its_classifier(tiny_classifier: Path) -> None:
    subject = load_subject(str(tiny_classifier), "cpu")
    assert isinstance(subject, ClassifierSubject)
    classifier = Classifier.load(tiny_classifier, "cpu")
    views = _views(32)
    assert subject.region == classifier.region
    assert np.allclose(subject.logits(views), classifier.logits(views) / 1.5, atol=1e-4)
    assert isinstance(subject, FeatureSubject)
    assert subject.features(views).shape[0] == 3
    assert np.isfinite(subject.features(views)).all()


@pytest.mark.slow  # two engines load a released network
def test_a_released_network_answers_on_a_faster_engine_and_shows_features_by_torch() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    subject = load_subject("classifier-mask", "cpu")
    assert isinstance(subject, ClassifierSubject)
    alone = ClassifierSubject(Classifier.load("classifier-mask", "cpu", engine="torch"))
    views = _views(subject.input_size, 2)
    assert np.allclose(subject.logits(views), alone.logits(views), atol=1e-3)
    assert np.array_equal(subject.features(views), alone.features(views))
    # The control with random weights answers by these weights.
    twin = subject.untrained()
    assert not np.allclose(twin.logits(views), subject.logits(views), atol=0.1)


def test_a_module_sees_three_normalised_channels() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4, 2))
    subject = ModuleSubject(module, CLASSES[:2], 2, channels=3, mean=[0.5, 0.4, 0.3], std=[0.1, 0.2, 0.3])
    assert isinstance(subject, Subject)
    assert subject.region == Region("full")
    views = np.full((1, 2, 2), 255, np.uint8)
    values = torch.tensor([5.0, 3.0, 7 / 3]).repeat_interleave(4)
    wanted = module[1](values).detach().numpy()
    assert np.allclose(subject.logits(views), wanted, atol=1e-5)


def test_features_and_cams_of_a_users_network(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_grad_cam")
    (tmp_path / "mine.py").write_text(ADAPTER)
    subject = load_subject(f"{tmp_path / 'mine.py'}:adapter")
    assert isinstance(subject, FeatureSubject)
    views = _views(24)
    features = subject.features(views)
    # The last linear layer reads exactly these features.
    head = subject.module[-1]
    assert np.allclose(
        features @ head.weight.detach().numpy().T + head.bias.detach().numpy(),
        subject.logits(views),
        atol=1e-4,
    )
    cams = subject.cams(views, np.array([0, 1, 0]))
    assert cams.shape == (3, 22, 22)
    assert (cams >= 0).all()
    control = subject.untrained()
    assert not np.allclose(control.logits(views), subject.logits(views))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.py:number", "returned a int"),
        ("mine.py:nothing", "cannot be loaded"),
        ("no.py:f", "cannot be loaded"),
        ("no_such_package_x:f", "cannot be loaded"),
    ],
)
def test_a_wrong_adapter_is_named(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(ADAPTER)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=message):
        load_subject(name)


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(ValueError, match="no layer 'layer9'"):
        ModuleSubject(nn.Sequential(nn.Conv2d(1, 2, 3)), CLASSES, 8, layer="layer9")
