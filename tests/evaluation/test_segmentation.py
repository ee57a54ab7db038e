from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import group_resamples
from lungcls.evaluation.segmentation import MaskScore, dice, hd95, iou, score_mask, segmentation_report

EMPTY = np.zeros((6, 8), dtype=bool)


def _box(top, left, bottom, right, shape=(6, 8)):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def test_overlap_by_hand():
    a, b = _box(1, 1, 3, 3), _box(1, 2, 3, 4)
    assert dice(a, b) == pytest.approx(2 * 2 / 8)
    assert iou(a, b) == pytest.approx(2 / 6)
    assert dice(a, a) == iou(a, a) == 1
    assert dice(a, _box(4, 5, 6, 8)) == iou(a, _box(4, 5, 6, 8)) == 0


def test_overlap_takes_zeros_and_ones():
    a, b = _box(1, 1, 3, 3), _box(1, 2, 3, 4)
    assert dice(a.astype(np.uint8), b.astype(np.float32)) == dice(a, b)


def test_empty_masks():
    some = _box(1, 1, 3, 3)
    assert dice(EMPTY, EMPTY) == iou(EMPTY, EMPTY) == 1
    assert dice(some, EMPTY) == iou(EMPTY, some) == 0
    assert hd95(EMPTY, EMPTY) == 0
    assert hd95(some, EMPTY) == hd95(EMPTY, some) == pytest.approx(10)
    assert hd95(some, EMPTY, spacing=(2, 0.5)) == pytest.approx(math.hypot(12, 4))


def test_distance_between_two_points():
    a, b = _box(0, 0, 1, 1), _box(3, 4, 4, 5)
    assert hd95(a, b) == pytest.approx(5)
    assert hd95(a, b, spacing=(2.0, 0.5)) == pytest.approx(math.hypot(6, 2))


def test_distance_of_a_shifted_square_is_the_shift():
    a = _box(10, 10, 50, 50, (80, 80))
    assert hd95(a, a) == 0
    assert hd95(a, np.roll(a, 3, axis=1)) == pytest.approx(3)


def test_a_small_speck_is_within_the_five_percent():
    a = _box(10, 10, 50, 50, (80, 80))
    b = a.copy()
    b[70, 70] = True
    assert hd95(a, b) == 0
    b[60:75, 60:75] = True
    assert hd95(a, b) == hd95(b, a) > 10


def _hd95_by_distance_maps(a, b, spacing):
    """The definition, with scipy's distance transform on the borders."""
    borders = [mask & ~binary_erosion(mask) for mask in (a, b)]
    maps = [distance_transform_edt(~border, sampling=spacing) for border in borders]
    return max(np.quantile(maps[1][borders[0]], 0.95), np.quantile(maps[0][borders[1]], 0.95))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spacing", [None, (0.7, 0.2)])
def test_distance_agrees_with_distance_maps(seed, spacing):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 40, 30)) < (0.02, 0.5, 0.9, 0.97, 0.3)[seed]
    assert hd95(a, b, spacing) == pytest.approx(_hd95_by_distance_maps(a, b, spacing))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (_box(0, 0, 2, 2), _box(0, 0, 2, 2, (6, 9)), "resize"),
        (_box(0, 0, 2, 2) * 255, EMPTY, "threshold"),
        (np.full((6, 8), 0.5), EMPTY, "threshold"),
        (np.zeros((1, 6, 8), bool), np.zeros((1, 6, 8), bool), r"\[H, W\]"),
        (np.zeros((0, 8), bool), np.zeros((0, 8), bool), "at least one pixel"),
    ],
)
def test_masks_that_do_not_fit_are_refused(a, b, message):
    for metric in (dice, iou, hd95):
        with pytest.raises(DataError, match=message):
            metric(a, b)


@pytest.mark.parametrize("spacing", [(0, 1), (1, -1), (1,), (math.nan, 1)])
def test_impossible_spacing_is_refused(spacing):
    with pytest.raises(DataError, match="spacing"):
        hd95(EMPTY, EMPTY, spacing)


def test_score_of_a_mask_holds_all_three():
    a, b = _box(1, 1, 3, 3), _box(1, 2, 3, 4)
    assert score_mask(a, b) == MaskScore(dice(a, b), iou(a, b), hd95(a, b))
    assert score_mask(a, b, (2, 2)).hd95 == 2 * hd95(a, b)


def _scores(n=60, seed=0):
    overlaps = np.random.default_rng(seed).beta(20, 1, n)
    return [MaskScore(float(d), float(d / (2 - d)), float(50 * (1 - d))) for d in overlaps]


def test_report_is_that_of_numpy():
    scores = _scores()
    labels = ["Normal", "COVID", "Normal"] * 20
    report = segmentation_report(scores, range(60), labels, n_resamples=50)
    assert report.classes == ("COVID", "Normal")
    assert report.support == {"COVID": 20, "Normal": 40}
    parts = {"": report.overall, **report.per_class}
    for name, figures in parts.items():
        chosen = [score for score, label in zip(scores, labels, strict=True) if name in ("", label)]
        overlaps = np.array([score.dice for score in chosen])
        distances = [score.hd95 for score in chosen]
        expected = {
            "dice_mean": overlaps.mean(),
            "dice_median": np.median(overlaps),
            "dice_p05": np.quantile(overlaps, 0.05),
            "iou_mean": np.mean([score.iou for score in chosen]),
            "hd95_mean": np.mean(distances),
            "hd95_median": np.median(distances),
            "failure_rate": (overlaps < 0.9).mean(),
        }
        assert {metric: estimate.value for metric, estimate in figures.items()} == pytest.approx(expected)
        for estimate in figures.values():
            assert estimate.low <= estimate.value <= estimate.high
        assert figures["dice_mean"].low < figures["dice_mean"].high


def test_intervals_by_class_are_those_of_a_plain_loop():
    scores, groups = _scores(), np.arange(60) // 2
    labels = np.array(["Normal", "COVID", "Normal"] * 20)
    report = segmentation_report(scores, groups, labels.tolist(), n_resamples=80, seed=3)
    overlaps = np.array([score.dice for score in scores])
    values = []
    for row in group_resamples(groups, 80, seed=3).weights():
        index = np.repeat(np.arange(60), row.astype(int))
        values.append(np.quantile(overlaps[index][labels[index] == "COVID"], 0.05))
    estimate = report.per_class["COVID"]["dice_p05"]
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_copies_in_a_group_do_not_narrow_the_interval():
    scores = _scores()
    copied = [score for score in scores for _ in range(6)]
    groups = np.repeat(np.arange(60), 6)
    grouped = segmentation_report(copied, groups, n_resamples=400).overall["dice_mean"]
    blind = segmentation_report(copied, range(360), n_resamples=400).overall["dice_mean"]
    assert blind.high - blind.low < 0.6 * (grouped.high - grouped.low)


def test_the_seed_decides_the_intervals():
    rows = [segmentation_report(_scores(), range(60), n_resamples=40, seed=s).to_rows() for s in (3, 3, 4)]
    assert rows[0] == rows[1] != rows[2]


def test_failure_threshold_is_strict_and_configurable():
    scores = [
        MaskScore(0.9, 0.8, 1),
        MaskScore(0.89, 0.8, 1),
        MaskScore(0.5, 0.3, 9),
        MaskScore(0.99, 0.98, 0),
    ]
    assert segmentation_report(scores, range(4), n_resamples=0).overall["failure_rate"].value == 0.5
    strict = segmentation_report(scores, range(4), n_resamples=0, failure_below=0.95)
    assert strict.overall["failure_rate"].value == 0.75
    assert strict.to_dict()["failure_below"] == 0.95


def test_classes_come_in_the_order_given_and_only_if_present():
    report = segmentation_report(
        _scores(3), range(3), ["a", "c", "a"], classes=["c", "b", "a"], n_resamples=5
    )
    assert report.classes == ("c", "a")
    assert [row["class"] for row in report.to_rows()] == [""] * 7 + ["c"] * 7 + ["a"] * 7


def test_a_class_in_a_single_group_is_no_crash():
    # Resamples that lack the only group of "b" are left out.
    report = segmentation_report(_scores(4), ["p", "q", "r", "s"], ["a", "a", "a", "b"], n_resamples=100)
    only = report.per_class["b"]["dice_median"]
    assert only.low == only.value == only.high


def test_report_is_safe_for_json_and_names_its_units():
    report = segmentation_report([MaskScore(1, 1, 0)], ["p"], hd95_unit="mm", n_resamples=5)
    saved = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert saved["hd95_unit"] == "mm"
    assert saved["overall"]["dice_mean"] == {"value": 1, "low": None, "high": None}
    units = {row["metric"]: row["unit"] for row in report.to_rows()}
    assert units["hd95_mean"] == "mm"
    assert units["dice_mean"] == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": []}, "no scores"),
        ({"scores": [MaskScore(1, 1, 0), MaskScore(1.2, 1, 0)]}, "score 1"),
        ({"scores": [MaskScore(1, 1, math.nan), MaskScore(1, 1, 0)]}, "score 0"),
        ({"groups": ["p"]}, "1 groups for 2 scores"),
        ({"labels": ["a"]}, "1 labels for 2 scores"),
        ({"labels": ["a", "z"], "classes": ["a", "b"]}, r"\['z'\]"),
        ({"labels": ["a", ""]}, "none of the classes"),
        ({"failure_below": 90}, "failure_below"),
        ({"hd95_unit": "cm"}, "hd95_unit"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    arguments = {"scores": [MaskScore(1, 1, 0)] * 2, "groups": ["p", "q"], "n_resamples": 5}
    with pytest.raises(DataError, match=message):
        segmentation_report(**{**arguments, **changes})
