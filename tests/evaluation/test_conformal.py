from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from lungcls.conformal import check_stored, in_set, p_values
from lungcls.errors import DataError
from lungcls.evaluation.calibration import softmax
from lungcls.evaluation.conformal import conformal_metrics, fit_conformal

CLASSES = ("a", "b", "c")


def _sample(n, seed, strength=(0.5, 1.5, 3.0)):
    """Classes of which the first is hard to tell and the last easy."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n, p=[0.3, 0.5, 0.2])
    logits = rng.normal(size=(n, 3))
    logits[np.arange(n), labels] += np.asarray(strength)[labels]
    return softmax(logits), labels


def _sets(stored, probabilities, coverage):
    return in_set(p_values(probabilities, stored, CLASSES), coverage)


class _Passing:
    """The least that MAPIE takes for a classifier: its features are the probabilities."""

    classes_ = np.arange(3)

    def fit(self, x, y):
        raise AssertionError("fitted already")

    def predict_proba(self, x):
        return x

    def predict(self, x):
        return x.argmax(axis=1)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95, 0.99])
def test_sets_are_those_of_mapie(coverage):
    mapie = pytest.importorskip("mapie.classification", reason="MAPIE is the reference")
    calibration, labels = _sample(777, 0)
    fresh, _ = _sample(400, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = mapie.SplitConformalClassifier(
            _Passing(), confidence_level=coverage, conformity_score="lac", prefit=True
        )
        reference.conformalize(calibration, labels)
        _, expected = reference.predict_set(fresh)
    stored = fit_conformal(calibration, labels, range(777), CLASSES, by_class=False)
    np.testing.assert_array_equal(_sets(stored, fresh, coverage), expected[..., 0])


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_each_class_is_held_as_often_as_asked_for(score, coverage):
    held = []
    for seed in range(60):
        stored = fit_conformal(*_sample(300, seed), range(300), CLASSES, score=score)
        fresh, labels = _sample(1000, 1000 + seed)
        sets = _sets(stored, fresh, coverage)
        figures = conformal_metrics(labels, sets, np.ones((1, 1000)), CLASSES)
        held.append([figures["coverage", name][0] for name in CLASSES])
    # The standard deviation of this mean is at most 0.007: 60 calibrations on 60 to 150 images a class.
    mean = np.mean(held, axis=0)
    assert (mean > coverage - 0.02).all()
    # The last class of all has an APS of 1 with any probabilities, and such ties hold more than is asked for.
    if score == "lac":
        assert (mean < coverage + 0.03).all()


def test_pooled_classes_hold_the_hard_one_less():
    stored = fit_conformal(*_sample(2000, 0), range(2000), CLASSES, by_class=False)
    fresh, labels = _sample(4000, 1)
    figures = conformal_metrics(labels, _sets(stored, fresh, 0.9), np.ones((1, 4000)), CLASSES)
    assert figures["coverage", ""][0] == pytest.approx(0.9, abs=0.02)
    assert figures["coverage", "a"][0] < 0.85


def test_copies_in_a_group_count_as_one():
    probabilities, labels = _sample(120, 0)
    single = fit_conformal(probabilities, labels, range(120), CLASSES)
    copies = np.repeat(np.arange(120), np.random.default_rng(0).integers(1, 6, 120))
    copied = fit_conformal(probabilities[copies], labels[copies], copies, CLASSES)
    for name in CLASSES:
        assert copied["classes"][name]["images"] > single["classes"][name]["images"]
        for key in ("groups", "below", "scores"):
            assert copied["classes"][name][key] == single["classes"][name][key]
    # One film with a hundred copies would otherwise decide alone.
    blind = fit_conformal(probabilities[copies], labels[copies], range(len(copies)), CLASSES)
    assert blind["classes"] != copied["classes"]


def test_images_of_unknown_groups_stand_alone():
    probabilities, labels = _sample(50, 0)
    assert fit_conformal(probabilities, labels, [""] * 50, CLASSES) == fit_conformal(
        probabilities, labels, range(50), CLASSES
    )


def test_what_is_stored_is_small_and_safe_on_the_side_of_coverage():
    calibration, labels = _sample(20_000, 0)
    stored = fit_conformal(calibration, labels, range(20_000), CLASSES)
    text = json.dumps(stored, allow_nan=False)
    assert len(text) < 12_000
    check_stored(json.loads(text), CLASSES)
    fresh, _ = _sample(500, 1)
    found = p_values(fresh, json.loads(text), CLASSES)
    fits = 1 - calibration
    for column in range(3):
        own = fits[labels == column, column]
        exact = ((own[None] >= 1 - fresh[:, column, None]).sum(axis=1) + 1) / (len(own) + 1)
        assert (found[:, column] >= exact - 1e-6).all()
        assert (found[:, column] <= exact + 0.011).all()


def test_a_class_without_calibration_images_is_in_every_set(caplog):
    probabilities, labels = _sample(100, 0)
    keep = labels != 2
    stored = fit_conformal(probabilities[keep], labels[keep], range(keep.sum()), CLASSES)
    assert "class c" in caplog.text
    check_stored(stored, CLASSES)
    assert _sets(stored, probabilities, 0.5)[:, 2].all()


def test_too_few_images_for_a_coverage_rule_nothing_out():
    stored = fit_conformal(*_sample(60, 0), range(60), CLASSES)
    assert _sets(stored, _sample(200, 1)[0], 0.995).all()


def test_figures_by_hand():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]], bool)
    figures = conformal_metrics(
        np.array([0, 0, 0, 1]), sets, np.array([[1.0, 1, 1, 1], [0, 0, 2, 0]]), CLASSES
    )
    np.testing.assert_allclose(figures["coverage", ""], [0.5, 0])
    np.testing.assert_allclose(figures["coverage", "a"], [2 / 3, 0])
    np.testing.assert_allclose(figures["coverage", "b"], [0, np.nan])
    np.testing.assert_allclose(figures["set_size", ""], [5 / 4, 2])
    np.testing.assert_allclose(figures["set_size", "a"], [5 / 3, 2])
    np.testing.assert_allclose(figures["single", ""], [1 / 4, 0])


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="one an image"):
        fit_conformal(np.eye(3), [0, 1], range(3), CLASSES)
    with pytest.raises(ValueError, match="unknown conformal score"):
        fit_conformal(np.eye(3), [0, 1, 2], range(3), CLASSES, score="lax")
