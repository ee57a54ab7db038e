"""Single figures under weights equal those of the whole report; samples keep their proportions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lungcls.data import Split
from lungcls.data.dataset import Record
from lungcls.evaluation.classification import classification_metrics
from lungcls.evaluation.sampling import limit_records
from lungcls.evaluation.weighted import auroc, difference, macro_auroc, macro_f1, share


def test_figures_are_those_of_the_report() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    probabilities = rng.dirichlet(np.ones(4), 60)
    weights = rng.integers(0, 3, (5, 60)).astype(float)
    weights[0] *= labels != 2  # a class that a resample lacks
    predicted = probabilities.argmax(1)
    wanted = classification_metrics(labels, probabilities, weights, ("COVID", "b", "c", "d"))
    assert share(predicted == labels)(weights) == pytest.approx(wanted["accuracy", ""])
    assert macro_f1(labels, predicted, 4)(weights) == pytest.approx(wanted["macro_f1", ""])
    assert macro_auroc(labels, probabilities)(weights) == pytest.approx(wanted["macro_auroc", ""])
    assert auroc(probabilities[:, 1], labels == 1)(weights) == pytest.approx(wanted["auroc", "b"])
    assert difference(share(labels == 0), share(labels == 0))(weights) == pytest.approx(0)


def test_nothing_to_weigh_is_undefined() -> None:
    nothing = np.zeros((1, 3))
    labels = np.array([0, 1, 1])
    assert np.isnan(share(np.ones(3))(nothing)[0])
    assert np.isnan(macro_f1(labels, labels, 2)(nothing)[0])
    assert np.isnan(macro_auroc(labels, np.eye(2)[labels])(nothing)[0])


def test_a_limited_sample_keeps_groups_whole_and_parts_in_proportion() -> None:
    records = [
        Record(f"{label}{i}", label, group=f"{label} g{i // 2}") for label in "ab" for i in range(100)
    ] + [Record(f"c{i}", "c", group=f"c{i}") for i in range(6)]
    parts = {r.file: "test" if int(r.file[1:]) % 100 >= 80 else "train" for r in records}
    split = Split(parts, {r.file: r.group for r in records})
    chosen = limit_records(records, split, 20, 0)
    counts = Counter((r.label, parts[r.file]) for r in chosen)
    assert counts == {
        ("a", "train"): 16,
        ("a", "test"): 4,
        ("b", "train"): 16,
        ("b", "test"): 4,
        ("c", "train"): 6,
    }
    assert all(count == 2 for group, count in Counter(r.group for r in chosen).items() if group[0] != "c")
    assert chosen == [r for r in records if r in chosen]
    assert limit_records(records, split, 20, 0) == chosen
    assert limit_records(records, split, 20, 1) != chosen
