from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
from sklearn import metrics

from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import bootstrap_estimates, group_resamples
from lungcls.evaluation.calibration import expected_calibration_error
from lungcls.evaluation.classification import classification_metrics, classification_report, weighted_auroc
from lungcls.labels import CLASSES


def _sample(n=300, digits=None, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, size=n, p=[0.2, 0.3, 0.4, 0.1])
    logits = rng.normal(size=(n, 4))
    logits[np.arange(n), labels] += 1.2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if digits is not None:
        probabilities = probabilities.round(digits)
    return labels, probabilities


def _one_hot(labels, k):
    return np.eye(k)[labels]


def test_figures_by_hand():
    labels = [0, 0, 0, 1, 1, 2]
    # Predicted: 0, 0, 1, 1, 0, 2.
    probabilities = _one_hot([0, 0, 1, 1, 0, 2], 3)
    report = classification_report(labels, probabilities, range(6), ["COVID", "b", "c"], n_resamples=10)
    np.testing.assert_array_equal(report.confusion, [[2, 1, 0], [1, 1, 0], [0, 0, 1]])
    assert report.support == {"COVID": 3, "b": 2, "c": 1}
    overall = {metric: estimate.value for metric, estimate in report.overall.items()}
    assert overall["accuracy"] == pytest.approx(4 / 6)
    assert overall["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert overall["covid_false_negative_rate"] == pytest.approx(1 / 3)
    # Two rows wholly wrong, each (1 - 0)^2 twice.
    assert overall["brier"] == pytest.approx(4 / 6)
    assert overall["ece"] == pytest.approx(2 / 6)
    assert overall["majority_accuracy"] == pytest.approx(1 / 2)
    assert overall["majority_macro_f1"] == pytest.approx((2 / 3) / 3)
    assert report.majority_class == "COVID"
    b = {metric: estimate.value for metric, estimate in report.per_class["b"].items()}
    # All its probabilities are 0 or 1: the two at 1 are right once, of the four at 0 one is it.
    assert b.pop("ece") == pytest.approx(1 / 6 + 1 / 6)
    # Pairs of b against the rest: scores (1, 0) against one 1 and three 0; wins 3, ties 1 + 3.
    assert b == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "auroc": (3 + 4 / 2) / 8})


@pytest.mark.parametrize("weighted", [False, True])
def test_figures_agree_with_scikit_learn(weighted):
    labels, probabilities = _sample()
    weight = np.random.default_rng(1).integers(0, 4, len(labels)).astype(float) if weighted else None
    rows = np.ones((1, len(labels))) if weight is None else weight[None]
    ours = {
        key: value[0] for key, value in classification_metrics(labels, probabilities, rows, CLASSES).items()
    }
    predicted = probabilities.argmax(axis=1)

    assert ours["accuracy", ""] == pytest.approx(
        metrics.accuracy_score(labels, predicted, sample_weight=weight)
    )
    scores = metrics.precision_recall_fscore_support(labels, predicted, sample_weight=weight)
    for metric, values in zip(("precision", "recall", "f1"), scores, strict=False):
        assert [ours[metric, name] for name in CLASSES] == pytest.approx(values)
        assert ours[f"macro_{metric}", ""] == pytest.approx(values.mean())
    areas = metrics.roc_auc_score(
        labels, probabilities, multi_class="ovr", average=None, sample_weight=weight
    )
    assert [ours["auroc", name] for name in CLASSES] == pytest.approx(areas)
    assert ours["macro_auroc", ""] == pytest.approx(areas.mean())
    assert ours["nll", ""] == pytest.approx(metrics.log_loss(labels, probabilities, sample_weight=weight))
    squared = ((probabilities - _one_hot(labels, 4)) ** 2).sum(axis=1)
    assert ours["brier", ""] == pytest.approx(np.average(squared, weights=weight))
    assert ours["covid_false_negative_rate", ""] == pytest.approx(1 - scores[1][0])
    if weight is None:
        assert ours["ece", ""] == pytest.approx(expected_calibration_error(probabilities, labels))
    else:
        repeated = np.repeat(np.arange(len(labels)), weight.astype(int))
        expected = expected_calibration_error(probabilities[repeated], labels[repeated])
        assert ours["ece", ""] == pytest.approx(expected)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_weighted_auroc_with_ties_agrees_with_scikit_learn(levels):
    rng = np.random.default_rng(levels)
    scores = rng.integers(levels, size=80) / levels
    positive = rng.random(80) < 0.3
    weights = np.concatenate([rng.integers(0, 4, size=(10, 80)), rng.random((10, 80))]).astype(float)
    expected = [metrics.roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(weighted_auroc(scores, positive, weights), expected, rtol=1e-12)


def test_auroc_at_the_ends():
    positive = np.array([True, False, False])
    ones = np.ones((1, 3))
    assert weighted_auroc(np.array([3.0, 2, 1]), positive, ones) == 1
    assert weighted_auroc(np.array([1.0, 2, 3]), positive, ones) == 0
    assert weighted_auroc(np.array([1.0, 1, 1]), positive, ones) == 0.5
    assert np.isnan(weighted_auroc(np.array([1.0, 2, 3]), positive, np.array([[0.0, 1, 1]])))
    assert np.isnan(weighted_auroc(np.array([1.0, 2, 3]), positive, np.array([[1.0, 0, 0]])))


def test_the_intervals_are_those_of_a_plain_loop():
    labels, probabilities = _sample(60)
    groups = np.arange(60) // 3
    report = classification_report(labels, probabilities, groups, CLASSES, n_resamples=100, seed=7)
    values = []
    for row in group_resamples(groups, 100, seed=7).weights():
        index = np.repeat(np.arange(60), row.astype(int))
        present = np.unique(labels[index])
        predicted = probabilities[index].argmax(axis=1)
        values.append(metrics.f1_score(labels[index], predicted, labels=present, average="macro"))
    macro = report.overall["macro_f1"]
    assert (macro.low, macro.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_intervals_hold_their_value_and_stay_in_range():
    labels, probabilities = _sample()
    report = classification_report(labels, probabilities, range(300), CLASSES, n_resamples=300)
    figures = [*report.overall.items()]
    figures += [item for by_metric in report.per_class.values() for item in by_metric.items()]
    for metric, estimate in figures:
        # Percentiles of a sum of absolute values are no interval of it.
        if metric in ("ece", "classwise_ece", "calibration_p"):
            assert math.isnan(estimate.low), metric
            continue
        if "ece" in metric:  # debiased: 0 is a value that it can have
            assert 0 <= estimate.low <= estimate.value <= estimate.high, metric
        else:
            assert 0 <= estimate.low < estimate.value < estimate.high, metric
        if metric not in ("nll", "brier"):
            assert estimate.high <= 1, metric


def test_copies_in_a_group_do_not_narrow_the_interval():
    labels, probabilities = _sample(100)
    copied = np.repeat(np.arange(100), 6)

    def width(index, groups):
        report = classification_report(labels[index], probabilities[index], groups, CLASSES, n_resamples=500)
        return {metric: estimate.high - estimate.low for metric, estimate in report.overall.items()}

    single, grouped, blind = (
        width(np.arange(100), range(100)),
        width(copied, copied),
        width(copied, range(600)),
    )
    for metric in ("accuracy", "macro_f1", "macro_auroc", "brier", "nll", "majority_accuracy"):
        assert grouped[metric] == pytest.approx(single[metric]), metric
        assert blind[metric] < 0.6 * grouped[metric], metric


def test_the_seed_decides_the_intervals():
    labels, probabilities = _sample(80)

    def run(seed):
        return classification_report(labels, probabilities, range(80), CLASSES, n_resamples=100, seed=seed)

    assert run(1).to_rows() == run(1).to_rows()
    first, second = run(1).overall["accuracy"], run(2).overall["accuracy"]
    assert first.value == second.value
    assert (first.low, first.high) != (second.low, second.high)


def test_a_class_that_the_sample_lacks_is_undefined_and_left_out_of_means():
    labels, probabilities = _sample(120)
    keep = labels != 3
    labels, probabilities = labels[keep], probabilities[keep]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = classification_report(labels, probabilities, range(len(labels)), CLASSES, n_resamples=50)
    assert all(math.isnan(estimate.value) for estimate in report.per_class["Viral Pneumonia"].values())
    recalls = [report.per_class[name]["recall"].value for name in CLASSES[:3]]
    assert report.overall["macro_recall"].value == pytest.approx(np.mean(recalls))
    saved = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    nothing = {"value": None, "low": None, "high": None}
    assert saved["per_class"]["Viral Pneumonia"]["auroc"] == nothing
    assert saved["per_class"]["Viral Pneumonia"]["support"] == 0


def test_only_one_class_in_the_sample():
    report = classification_report([2, 2, 2], _one_hot([2, 2, 0], 4), range(3), CLASSES, n_resamples=20)
    assert report.overall["accuracy"].value == pytest.approx(2 / 3)
    assert math.isnan(report.overall["macro_auroc"].value)
    assert math.isnan(report.overall["covid_false_negative_rate"].value)
    assert report.per_class["Normal"]["recall"].value == pytest.approx(2 / 3)
    json.dumps(report.to_dict(), allow_nan=False)


def test_resamples_that_lack_a_class_are_left_out():
    # One image of class 1: about a third of the resamples have none, in the others its recall is 1.
    labels = [0] * 5 + [1]
    report = classification_report(labels, _one_hot(labels, 2), range(6), ["a", "b"], n_resamples=200)
    recall = report.per_class["b"]["recall"]
    assert (recall.value, recall.low, recall.high) == (1, pytest.approx(0.025), 1)  # of one film, exactly
    macro = report.overall["macro_f1"]
    assert (macro.low, macro.high) == (1, 1)


def test_a_class_never_predicted_has_precision_zero():
    labels = [0, 0, 1]
    report = classification_report(labels, _one_hot([0, 0, 0], 2), range(3), ["a", "b"], n_resamples=0)
    assert report.per_class["b"]["precision"].value == 0
    assert report.per_class["b"]["f1"].value == 0
    expected = metrics.f1_score(labels, [0, 0, 0], average="macro", zero_division=0)
    assert report.overall["macro_f1"].value == pytest.approx(expected)
    assert report.overall["macro_f1"].value == report.overall["majority_macro_f1"].value


def test_a_certain_and_wrong_answer_costs_a_finite_likelihood():
    report = classification_report([0, 1], [[0.0, 1.0], [0.0, 1.0]], range(2), ["a", "b"], n_resamples=0)
    assert report.overall["nll"].value == pytest.approx(-math.log(np.finfo(float).eps) / 2)


def test_the_baseline_can_be_the_training_sets():
    labels, probabilities = _sample()
    report = classification_report(
        labels, probabilities, range(300), CLASSES, n_resamples=0, majority_class="Lung_Opacity"
    )
    always = np.full(300, 1)
    assert report.overall["majority_accuracy"].value == pytest.approx((labels == 1).mean())
    expected = metrics.f1_score(labels, always, average="macro", zero_division=0)
    assert report.overall["majority_macro_f1"].value == pytest.approx(expected)


def test_no_covid_among_the_classes_no_covid_figure():
    report = classification_report([0, 1], np.eye(2), range(2), ["a", "b"], n_resamples=5)
    assert "covid_false_negative_rate" not in report.overall
    assert {row["metric"] for row in report.to_rows()}.isdisjoint({"covid_false_negative_rate"})


def test_rows_hold_every_figure_once():
    labels, probabilities = _sample(100)
    report = classification_report(labels, probabilities, range(100), CLASSES, n_resamples=20)
    rows = report.to_rows()
    assert all(list(row) == ["metric", "class", "value", "low", "high", "n"] for row in rows)
    assert len({(row["metric"], row["class"]) for row in rows}) == len(rows) == 15 + 4 * 5
    sizes = {(row["metric"], row["class"]): row["n"] for row in rows}
    assert sizes["accuracy", ""] == 100
    assert sizes["recall", "Normal"] == (labels == 2).sum()
    assert sizes["covid_false_negative_rate", ""] == (labels == 0).sum()


def test_float32_probabilities_with_rounding_are_accepted():
    labels, probabilities = _sample(50, digits=3)
    assert (probabilities.sum(axis=1) != 1).any()
    report = classification_report(
        labels.astype(np.int32), probabilities.astype(np.float32), ["g"] * 25 + ["h"] * 25, CLASSES, 10
    )
    assert report.n_groups == 2


def test_two_models_can_be_compared_resample_by_resample():
    labels, probabilities = _sample(200)
    worse = np.full((200, 4), 0.25)

    def difference(weights):
        one = classification_metrics(labels, probabilities, weights, CLASSES)
        other = classification_metrics(labels, worse, weights, CLASSES)
        return {key: one[key] - other[key] for key in one}

    estimates = bootstrap_estimates(difference, group_resamples(range(200), 200))
    assert estimates["macro_auroc", ""].low > 0.2
    assert estimates["macro_f1", ""].low > 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1]}, "one an image"),
        ({"labels": [0, 1, 3]}, "expected 0 to 2"),
        ({"labels": ["a", "b", "c"]}, "whole numbers"),
        ({"probabilities": np.eye(4)[:3]}, "4 columns for 3 classes"),
        ({"probabilities": np.eye(3) * 2}, "row 0.*softmax"),
        ({"probabilities": [[1, 0, 0], [0, 1, 0], [1.5, -0.5, 0]]}, "row 2"),
        ({"probabilities": np.full((3, 3), np.nan)}, "3 of 3 rows"),
        ({"groups": ["a", "b"]}, "2 groups for 3 images"),
        ({"classes": ["a", "b", "a"]}, "twice"),
        ({"classes": "abc"}, "list of names"),
        ({"level": 95}, "level is 95"),
        ({"majority_class": "d"}, "'d'"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    arguments = {"labels": [0, 1, 2], "probabilities": np.eye(3), "groups": [1, 2, 3], "classes": list("abc")}
    with pytest.raises(DataError, match=message):
        classification_report(**{**arguments, **changes}, n_resamples=5)


def test_a_recall_of_none_of_a_few_films_is_not_sure() -> None:
    # Eleven films of a class that is never said: Clopper and Pearson by hand, 1 - 0.025 ** (1 / 11).
    labels = np.array([0] * 11 + [1] * 40)
    report = classification_report(labels, np.tile([0.1, 0.9], (51, 1)), range(51), ("a", "b"), 100)
    recall = report.per_class["a"]["recall"]
    assert (recall.value, recall.low) == (0, 0)
    assert recall.high == pytest.approx(1 - 0.025 ** (1 / 11))
    assert report.per_class["b"]["recall"].low == pytest.approx(0.025 ** (1 / 40))
