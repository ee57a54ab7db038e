"""Figures by subgroup against what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from lungcls.evaluation.subgroups import balancing, subgroup_rows
from lungcls.study.answers import Answers


def answers_of(labels: list[int], said: list[int]) -> Answers:
    logits = np.eye(2)[said] * 4.0
    files = tuple(f"{i}.png" for i in range(len(labels)))
    return Answers("model", ("ill", "well"), files, files, np.asarray(labels), logits)


def test_a_model_that_reads_the_processing_loses_what_it_gained_by_it() -> None:
    # 100 ill films, 80 of them processed as "a"; 100 well ones, 20 of them "a". It says ill to every "a".
    labels = [0] * 100 + [1] * 100
    processing = np.asarray(["a"] * 80 + ["b"] * 20 + ["a"] * 20 + ["b"] * 80)
    answers = answers_of(labels, np.where(processing == "a", 0, 1).tolist())
    rows = subgroup_rows(answers, {"processing": processing, "source": np.full(200, "")}, 200, 0)
    by = {(row["films"], row["metric"], row["class"]): row for row in rows}
    assert by["processing a", "recall", "ill"]["value"] == 1
    assert by["processing b", "recall", "ill"]["value"] == 0
    assert by["processing", "recall_gap", "well"]["value"] == 1
    assert by["processing", "recall_gap", "well"]["low"] > 0.8
    balanced = by["processing balanced", "macro_f1", ""]
    assert balanced["value"] == pytest.approx(0.5)
    assert balanced["n"] == 200
    assert balanced["low"] < 0.5 < balanced["high"]
    assert not any(row["films"].startswith("source") for row in rows)


def test_weights_keep_the_classes_and_leave_out_small_cells() -> None:
    labels = np.asarray([0] * 60 + [1] * 50)
    values = np.asarray(["a"] * 40 + ["b"] * 20 + ["a"] * 45 + ["b"] * 5)
    rng = np.random.default_rng(0)
    answers = answers_of(labels.tolist(), rng.integers(0, 2, 110).tolist())
    rows = subgroup_rows(answers, {"source": values}, 20, 0)
    # Of the class "well", "b" has five films: its other films alone count, as much as the class did.
    cells = {(0, "a"): (labels == 0) & (values == "a"), (0, "b"): (labels == 0) & (values == "b")}
    weights = balancing(labels, {**cells, (1, "a"): (labels == 1) & (values == "a")})
    assert [weights[labels == k].sum() for k in (0, 1)] == [60, 50]
    assert weights[-5:].sum() == 0
    (row,) = [row for row in rows if row["metric"] == "macro_f1"]
    expected = f1_score(labels, answers.predicted, average="macro", sample_weight=weights)
    assert row["value"] == pytest.approx(expected)
    assert {row["class"] for row in rows if row["metric"] == "recall_gap"} == {"ill"}
