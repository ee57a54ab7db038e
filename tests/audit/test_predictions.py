"""What is planted into predictions is found, and nothing is found where nothing is planted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lungcls.audit.predictions import PredictionAudit, audit_predictions
from lungcls.audit.table import PredictionTable
from lungcls.cli.main import app
from lungcls.evaluation.results import write_csv
from lungcls.shortcuts.dependence import dependence
from lungcls.shortcuts.gaps import recall_gaps
from lungcls.study.answers import Answers

CLASSES = ("sick", "well")
N = 1600


def table(**planted: Any) -> PredictionTable:
    """Answers that are right 9 times in 10 and say so; `planted` changes them."""
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 2
    sex = np.where(rng.random(N) < 0.5, "F", "M")
    source = np.where(rng.random(N) < planted.get("skew", 0.5), labels, 1 - labels).astype(str)
    right = rng.random(N) < np.where((sex == "F") & (labels == 0), planted.get("recall", 0.9), 0.9)
    if "rests_on_source" in planted:
        right = source == labels.astype(str)
    said = np.where(right, labels, 1 - labels)
    chance = np.full(N, planted.get("confidence", 0.9)) + rng.normal(size=N) * 1e-3
    probabilities = np.where(np.arange(2) == said[:, None], chance[:, None], 1 - chance[:, None])
    files = tuple(f"{i}.png" for i in range(N))
    parts = ["test"] * N
    manifest = [
        {"file": file, "label": "", "patient": f"p{i}", "group": "", "part": part}
        for i, (file, part) in enumerate(zip(files, parts))
    ]
    taught = planted.get("taught", 0)
    manifest += [
        {
            "file": f"old{i}.png",
            "label": "",
            "patient": f"p{i if i < taught else -i}",
            "group": "",
            "part": "train",
        }
        for i in range(1, 200)
    ]
    answers = Answers("mine", CLASSES, files, ("",) * N, labels, np.log(probabilities))
    columns = {"sex": sex.tolist(), "source": source.tolist()}
    return PredictionTable(answers, columns, {}, manifest)


def verdicts(found: PredictionAudit) -> dict[str, str]:
    return {finding.name: finding.verdict for finding in found.findings}


def audit(**planted: Any) -> dict[str, str]:
    return verdicts(audit_predictions(table(**planted), n_resamples=100))


def test_an_honest_model_fails_nothing_and_says_what_was_not_asked() -> None:
    found = audit()
    assert "fail" not in found.values()
    for passed in ("gap_sex", "gap_source", "same_source", "skew", "leakage", "calibration"):
        assert found[passed] == "pass", passed
    for absent in ("gap_processing", "gap_age", "dependence", "sets", "abroad"):
        assert found[absent] == "not applicable", absent


@pytest.mark.parametrize(
    ("planted", "fails"),
    [
        ({"recall": 0.6}, {"gap_sex"}),
        ({"confidence": 0.99}, {"calibration"}),
        ({"taught": 100}, {"leakage"}),
        ({"rests_on_source": True, "skew": 0.85}, {"gap_source", "same_source", "skew"}),
    ],
)
def test_what_is_planted_is_found(planted: dict[str, Any], fails: set[str]) -> None:
    found = audit(**planted)
    assert {name for name, verdict in found.items() if verdict == "fail"} >= fails


def test_few_films_tell_nothing_and_say_how_many_would() -> None:
    whole = table()
    few = np.zeros(N, np.bool_)
    few[:120] = True
    small = PredictionTable(
        whole.answers.of(few), {name: values[:120] for name, values in whole.columns.items()}
    )
    found = {finding.name: finding for finding in audit_predictions(small, n_resamples=50).findings}
    assert found["gap_sex"].verdict == "cannot tell"
    assert "would decide, here are" in found["gap_sex"].because


def test_features_that_carry_an_attribute_are_told_and_only_their_use_is_blamed() -> None:
    rng = np.random.default_rng(1)
    carried = table(skew=0.85)
    source = np.asarray(carried.columns["source"]).astype(float)
    honest = np.column_stack([carried.answers.labels + rng.normal(size=N), source, rng.normal(size=(N, 6))])
    cheat = np.column_stack([source + 0.1 * rng.normal(size=N), rng.normal(size=(N, 7))])
    columns = {"source": carried.values("source")}
    results = {
        name: dependence(carried.answers, columns, features, 0, 50)
        for name, features in (("honest", honest), ("cheat", cheat))
    }
    values = {
        name: {
            row["figure"]: row["value"]
            for row in found.rows
            if row["what"] in ("", "the values within the classes")
        }
        for name, found in results.items()
    }
    assert min(of["told"] for of in values.values()) > 0.95  # both carry the source
    assert results["cheat"].verdict == "fail"
    assert values["honest"]["drop"] < values["cheat"]["drop"]


def test_a_gap_of_few_films_that_are_all_right_is_no_pass() -> None:
    labels, sex = np.zeros(40, np.int64), np.asarray(["F", "M"] * 20)
    right = Answers(
        "mine", CLASSES, tuple(map(str, range(40))), ("",) * 40, labels, np.tile([1.0, 0.0], (40, 1))
    )
    told = recall_gaps(right, sex, "sex")
    assert [row["value"] for row in told.rows] == [1, 1, 0]
    assert told.verdict == "cannot tell"
    copies = replace(right, groups=tuple(f"p{i // 20}" for i in range(40)))
    assert recall_gaps(copies, sex, "sex").rows[-1]["high"] > told.rows[-1]["high"]


def test_the_command_writes_page_and_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib (the extra plots) is not installed")
    made = table(recall=0.6)
    rows = made.answers.to_rows()
    write_csv(tmp_path, "predictions", rows)
    known = [
        {"file": row["file"], "patient": row["patient"], "part": row["part"], "sex": sex}
        for row, sex in zip(made.manifest, made.columns["sex"])
    ]
    write_csv(tmp_path, "manifest", known)
    arguments = ["audit", str(tmp_path / "predictions.csv"), "--manifest", str(tmp_path / "manifest.csv")]
    for place in ("one", "other"):
        write_csv(tmp_path / place, "abroad", rows[: 400 if place == "one" else 600])
        arguments += ["--external", str(tmp_path / place / "abroad.csv")]
    arguments += ["--external", str(tmp_path / "predictions.csv"), "--resamples", "20"]
    arguments += ["-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "largest gap of recall: sick" in result.output
    payload = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert payload["predictions"]["verdicts"]["gap_sex"] == "fail"
    # Tables of one name are told apart by their folders.
    assert payload["predictions"]["externals"] == {"one/abroad": 400, "other/abroad": 600, "predictions": N}
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "Audit of mine" in page
    assert "http" not in page.replace("http-equiv", "")
    refused = CliRunner().invoke(app, [*arguments[:2], "--part", "dev", "-o", str(tmp_path / "out")])
    assert refused.exit_code == 2
