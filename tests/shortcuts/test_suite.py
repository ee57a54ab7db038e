"""The suite catches a model that is known to cheat, and lets one pass that is known not to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lungcls.data import RadiographyDatabase, Split
from lungcls.data.views import drawn_lungs
from lungcls.errors import DataError
from lungcls.shortcuts import ModuleSubject
from lungcls.shortcuts.check import _CHECKS, Audit, Check, Finding, choose_checks, register_check
from lungcls.shortcuts.sample import Trial
from lungcls.shortcuts.suite import Examination, examine
from lungcls.study.study import Study

pytest.importorskip("pytorch_grad_cam")

World = tuple[RadiographyDatabase, Split]
FIRST = tuple(str(number) for number in range(1, 11))


def _examine(subject: ModuleSubject, world: World, **options: Any) -> Examination:
    database, split = world
    lungs = drawn_lungs(database, database.records)
    records = split.select(database.records, "test")
    study = Study(database, records, lungs, split, "test", n_resamples=200)
    checks = options.pop("checks", ())
    return examine(subject, study, checks=checks, audit=Audit(**{"per_pair": 25, **options}))


@pytest.fixture(scope="module")
def honest_findings(honest: ModuleSubject, honest_world: World) -> Examination:
    database, _ = honest_world
    lungs = drawn_lungs(database, database.records)
    # The same world is no external set of itself: all of its training images are found again.
    boxes = {
        record.file: [(20.0, 20.0, 30.0, 40.0)]
        for record in database.records
        if record.label == "Lung_Opacity"
    }
    twin = {"twin": Study(database, database.records, lungs)}
    return _examine(honest, honest_world, checks=FIRST, boxes=boxes, externals=twin)


@pytest.fixture(scope="module")
def cheat_findings(cheat: ModuleSubject, cheating_world: World) -> Examination:
    return _examine(cheat, cheating_world, checks=("background_swap", "region_decomposition", "attention"))


@pytest.mark.slow
def test_a_model_that_looks_at_the_lungs_passes(honest_findings: Examination) -> None:
    verdicts = honest_findings.payload["verdicts"]
    assert set(verdicts) == {check.name for check in choose_checks(FIRST)}
    assert len(verdicts) == 10
    assert honest_findings.payload["accuracy"] > 0.9
    because = {check.name: check.because for check in honest_findings.checks}
    assert "fail" not in verdicts.values(), {n: because[n] for n, v in verdicts.items() if v == "fail"}
    for name in ("background_swap", "same_source_pairs", "robustness", "region_decomposition", "external"):
        assert verdicts[name] == "pass", because[name]


@pytest.mark.slow
def test_a_model_that_looks_beside_the_lungs_is_caught(cheat_findings: Examination) -> None:
    verdicts = cheat_findings.payload["verdicts"]
    # As good as the honest one by its accuracy: that does not tell them apart.
    assert cheat_findings.payload["accuracy"] > 0.9
    assert (verdicts["background_swap"], verdicts["region_decomposition"]) == ("fail", "fail")
    assert verdicts["attention"] == "not applicable"


@pytest.mark.slow
def test_answers_follow_what_each_model_looks_at(
    honest_findings: Examination, cheat_findings: Examination
) -> None:
    for found, followed in ((honest_findings, "follows_lungs"), (cheat_findings, "follows_background")):
        rows = [row for row in found.checks[0].rows if row["lungs"] != row["background"]]
        assert len(rows) == 12
        assert np.mean([row[followed] for row in rows]) > 0.8
        for row in rows:
            assert row["follows_lungs"] + row["follows_background"] + row["neither"] == pytest.approx(1)


@pytest.mark.slow
def test_what_the_data_cannot_tell_is_said(honest_findings: Examination) -> None:
    because = {check.name: check.because for check in honest_findings.checks}
    assert honest_findings.payload["verdicts"]["leave_one_source_out"] == "cannot tell"
    assert "--train-checks" in because["leave_one_source_out"]


@pytest.mark.slow
def test_copies_of_training_images_are_left_out_of_external_sets(honest_findings: Examination) -> None:
    (check,) = [check for check in honest_findings.checks if check.name == "external"]
    (dropped,) = [row["value"] for row in check.rows if row["figure"] == "near_duplicates_left_out"]
    assert dropped >= 4 * 48
    recalls = [row for row in check.rows if row["figure"] == "recall"]
    assert {row["source"] for row in recalls} == {"rsna", "kermany"}


@pytest.mark.slow
def test_boxes_are_reported_apart(honest_findings: Examination) -> None:
    (check,) = [check for check in honest_findings.checks if check.name == "attention"]
    rows = {row.get("films", row["figure"]): row for row in check.rows}
    assert 0 < rows["share_of_boxes_inside_lungs"]["value"] < 1
    assert rows["boxes kept"]["n"] + rows["boxes lost"]["n"] == 40
    shares = {row["figure"]: row["value"] for row in check.rows}
    assert shares["cam_in_lungs_chance"] < shares["cam_in_lungs_share"] < shares["cam_in_lungs_ceiling"]


@pytest.mark.slow
def test_unknown_checks_and_unusable_data_are_errors(honest: ModuleSubject, honest_world: World) -> None:
    with pytest.raises(DataError, match="unknown checks tea; the checks are 1 background_swap"):
        _examine(honest, honest_world, checks=["tea"])
    database, _ = honest_world
    with pytest.raises(DataError, match="none of 352 images has a usable lung mask"):
        examine(honest, Study(database, database.records, {}))


def test_checks_are_chosen_by_name_and_by_number() -> None:
    def names(*chosen: str, training: bool = False) -> list[str]:
        return [check.name for check in choose_checks(chosen, training)]

    assert names("9", "leakage") == ["leakage", "attention"]
    assert names("5", training=True) == ["leakage", "leakage_trained"]
    assert names("leakage", training=True) == ["leakage"]
    assert names("robustness", training=True) == ["robustness"]
    assert names("leakage_trained") == ["leakage_trained"]
    assert names("a", "D", "H") == ["leakage", "lungs_blanked", "untestable_pairs"]
    assert names("G") == ["processing"]
    assert len(names("all", training=True)) == 26


@pytest.mark.slow
def test_a_check_of_ones_own_runs_beside_the_others(honest: ModuleSubject, honest_world: World) -> None:
    class Darkness(Check):
        """The check of the document."""

        name, number, title = "darkness", 11, "Darkened films"

        def run(self, trial: Trial, audit: Audit) -> Finding:
            """Darken the films."""
            darker = trial.answers([0.5 * film for film in trial.sample.pixels], trial.sample.masks)
            changed = float((darker.argmax(1) != trial.probabilities.argmax(1)).mean())
            return self.finding("pass" if changed < 0.05 else "fail", f"{changed:.0%} of the answers change")

    register_check(Darkness())
    try:
        assert [check.name for check in choose_checks(["11"])] == ["darkness"]
        (finding,) = _examine(honest, honest_world, checks=["darkness"]).checks
        assert finding.title == "11. Darkened films"
        assert finding.because.endswith("of the answers change")
    finally:
        _CHECKS.pop("darkness")
