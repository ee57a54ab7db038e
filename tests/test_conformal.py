from __future__ import annotations

import numpy as np
import pytest

from lungcls.conformal import check_stored, in_set, merged_p_values, nonconformity, p_values

CLASSES = ("a", "b")
STORED = {
    "score": "lac",
    "classes": {
        "a": {"images": 4, "groups": 4, "below": [1, 2, 3, 4], "scores": [0.1, 0.2, 0.5, 0.9]},
        "b": {"images": 0, "groups": 0, "below": [], "scores": []},
    },
}


def test_scores_by_hand():
    row = [[0.5, 0.3, 0.15, 0.05]]
    np.testing.assert_allclose(nonconformity(row, "lac"), [[0.5, 0.7, 0.85, 0.95]])
    np.testing.assert_allclose(nonconformity(row, "aps"), [[0.5, 0.8, 0.95, 1.0]])
    np.testing.assert_allclose(nonconformity(row, "raps"), [[0.5, 0.9, 1.15, 1.3]])
    with pytest.raises(ValueError, match="unknown conformal score 'lax'; expected one of lac, aps, raps"):
        nonconformity(row, "lax")


def test_p_values_by_hand():
    # A score of 0.2 is no better than 3 of the 4, one of 0.05 than all, one of 0.95 than none.
    found = p_values([[0.8, 0.2], [0.95, 0.05], [0.05, 0.95]], STORED, CLASSES)
    np.testing.assert_allclose(found[:, 0], [4 / 5, 1, 1 / 5])
    # Of a class that was never seen nothing can be ruled out.
    np.testing.assert_array_equal(found[:, 1], 1)


def test_the_rule_between_the_ranks():
    # 4 groups: at coverage 0.8 the rank is ceil(5 * 0.8) = 4, beyond it nothing can be ruled out.
    assert in_set([0.2, 0.21], 0.8).tolist() == [False, True]
    assert in_set([0.1, 0.2], 0.9).tolist() == [False, True]
    assert in_set(p_values([[0.0, 1.0]], STORED, CLASSES), 0.81).tolist() == [[True, True]]


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 90])
def test_an_impossible_coverage_is_refused(coverage):
    with pytest.raises(ValueError, match="coverage is"):
        in_set([0.5], coverage)


def test_merged_p_values_are_twice_the_mean_and_those_of_one_are_its_own():
    np.testing.assert_allclose(merged_p_values([[0.1, 0.8], [0.3, 0.9]]), [0.4, 1.0])
    np.testing.assert_allclose(merged_p_values([[0.1, 0.8]]), [0.1, 0.8])


def test_merged_p_values_keep_the_coverage_of_members_that_agree_and_that_do_not():
    rng = np.random.default_rng(0)
    first = rng.random(20_000)
    for second in (first, 1 - first, rng.random(20_000), (first + 0.5) % 1):
        assert in_set(merged_p_values([first, second]), 0.9).mean() > 0.895


def _changed(**changes):
    return {**STORED, "classes": {**STORED["classes"], "a": {**STORED["classes"]["a"], **changes}}}


def test_what_is_usable_passes():
    check_stored({}, CLASSES)
    check_stored(STORED, CLASSES)
    check_stored({**STORED, "data": {"dataset": "any"}}, CLASSES)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([], "found a list"),
        ({"score": "lax"}, "score is 'lax'"),
        ({"score": "lac"}, "an entry for each of a, b"),
        ({**STORED, "classes": {"a": STORED["classes"]["a"]}}, "an entry for each of a, b"),
        ({**STORED, "classes": {"a": [], "b": []}}, "a lacks groups"),
        (_changed(groups=2.5), "whole number of groups"),
        (_changed(groups=3), "below of a goes from 1 to 4, expected 0 to 3"),
        (_changed(below=[1, 2, 3]), "rising lists of one length"),
        (_changed(scores=[0.1, 0.2, 0.9, 0.5]), "rising lists"),
        (_changed(scores=[0.1, 0.2, 0.5, float("nan")]), "rising lists"),
        (_changed(scores=[0.1, 0.2, 0.5, "0.9"]), "rising lists"),
    ],
)
def test_what_is_not_usable_is_named(stored, message):
    with pytest.raises(ValueError, match=message):
        check_stored(stored, CLASSES)
