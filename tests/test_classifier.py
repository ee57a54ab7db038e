from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungcls.classifier import Classifier
from lungcls.errors import WeightsError
from lungcls.labels import CLASSES
from lungcls.phantom import chest_phantom
from lungcls.regions import Region, view
from lungcls.weights import load_card, write_card


@pytest.fixture(scope="module")
def views() -> np.ndarray:
    phantoms = [chest_phantom(64, seed=seed) for seed in range(3)]
    return np.stack([view(phantom.image, phantom.mask, Region(), 32) for phantom in phantoms])


@pytest.fixture
def classifier(tiny_classifier: Path) -> Classifier:
    return Classifier.load(tiny_classifier, "cpu")


def test_probabilities(classifier: Classifier, views: np.ndarray) -> None:
    probabilities = classifier.probabilities(views)
    assert probabilities.shape == (3, len(CLASSES))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    assert (probabilities > 0).all()
    # They differ between pictures, and one's do not depend on its neighbours in the batch.
    assert np.ptp(probabilities, axis=0).max() > 0
    np.testing.assert_allclose(classifier.probabilities(views[1:2])[0], probabilities[1], atol=1e-6)


def test_temperature_divides_the_logits(classifier: Classifier, views: np.ndarray) -> None:
    logits = classifier.logits(views).astype(np.float64)
    for temperature in (0.5, 1.0, 4.0):
        classifier.card = replace(classifier.card, temperature=temperature)
        exponents = np.exp(logits / temperature)
        expected = exponents / exponents.sum(1, keepdims=True)
        np.testing.assert_allclose(classifier.probabilities(views), expected, rtol=1e-6)


def test_large_logits_do_not_overflow(classifier: Classifier, views: np.ndarray) -> None:
    classifier.card = replace(classifier.card, temperature=1e-6)
    probabilities = classifier.probabilities(views)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (probabilities.argmax(1) == classifier.logits(views).argmax(1)).all()


def test_the_card_says_the_region(classifier: Classifier, tiny_classifier: Path, tmp_path: Path) -> None:
    assert classifier.region == Region("mask", 0.05, 0.01)
    path = Path(shutil.copy(tiny_classifier, tmp_path))
    write_card(path, replace(load_card(tiny_classifier), region={"name": "crop", "margin": 0.1}))
    assert Classifier.load(path, "cpu").region == Region("crop", 0.1, 0.0)


def test_a_segmenters_weights_are_refused(tiny_segmenter: Path) -> None:
    expected = r"tiny-segmenter\.safetensors: these weights are for segmentation; expected .* classification"
    with pytest.raises(WeightsError, match=expected):
        Classifier.load(tiny_segmenter, "cpu")
