from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lungcls.shortcuts.crossfit import cross_fitted, logistic, trees


@pytest.mark.parametrize("make", [trees, logistic])
def test_films_that_look_the_same_are_not_told_by_their_order(make: object) -> None:
    positive = np.arange(80) >= 40  # in the order of the classes, as datasets are
    same = np.zeros((80, 2))
    scores = cross_fitted(make, same, positive, list(range(80)), 0)  # type: ignore[arg-type]
    assert scores is not None
    assert roc_auc_score(positive, scores) == pytest.approx(0.5)
    told = cross_fitted(make, positive[:, None].astype(float), positive, list(range(80)), 0)  # type: ignore[arg-type]
    assert told is not None
    assert roc_auc_score(positive, told) == 1.0
