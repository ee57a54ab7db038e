from __future__ import annotations

import numpy as np
import pytest

from lungcls.training.datamodule import sampling_weights


@pytest.mark.parametrize("equal_classes", [False, True])
def test_strata_are_drawn_equally_often_within_each_class(equal_classes: bool) -> None:
    labels = np.repeat([0, 1], [60, 40])
    strata = np.concatenate([np.repeat([0, 1], [40, 20]), np.repeat([0, 1], [10, 30])])
    weights = sampling_weights(labels, strata, equal_classes=equal_classes)
    drawn = [weights[labels == label].sum() for label in (0, 1)]
    np.testing.assert_allclose(drawn[0] / drawn[1], 1.0 if equal_classes else 1.5)
    for label in (0, 1):
        parts = [weights[(labels == label) & (strata == one)].sum() for one in (0, 1)]
        np.testing.assert_allclose(parts[0], parts[1])


def test_a_handful_of_films_is_not_drawn_over_and_over() -> None:
    strata = np.repeat([0, 1], [199, 1])
    weights = sampling_weights(np.zeros(200, np.int64), strata, equal_classes=False)
    assert weights[-1] / weights.mean() < 8
