from __future__ import annotations

import json

import numpy as np
import pytest

from lungcls.finder import assess
from lungcls.gate.screening import KINDS, Screening
from lungcls.quality import REASONS, Quality, Reason

LUNGS = np.zeros((100, 100), bool)
LUNGS[20:80, 10:40] = LUNGS[20:80, 60:90] = True
ONE = LUNGS.copy()
ONE[:, 50:] = False


def screening(
    kind: str, certainty: float, *, accepted: bool = True, reasons: tuple[Reason, ...] = ()
) -> Screening:
    rest = (1 - certainty) / (len(KINDS) - 1)
    return Screening({name: certainty if name == kind else rest for name in KINDS}, 1.0, accepted, reasons)


def names(found: Quality) -> list[str]:
    return [reason.name for reason in found.reasons]


def test_without_the_gate_only_the_mask_is_judged() -> None:
    found = assess(LUNGS)
    assert (found.ok, found.accepted) == (True, True)
    assert names(assess(ONE)) == ["one_lung"]
    assert "chest" not in found.values


def test_the_values_of_both_are_kept() -> None:
    found = assess(LUNGS, 0.95, screening("frontal", 0.97))
    assert found.ok
    assert found.values["agreement"] == 0.95
    assert found.values["frontal"] > 0.97
    assert found.values["distance"] == 1.0


def test_the_gates_reasons_come_first_and_each_name_once() -> None:
    cut = Reason("cut_off", 0.1, 0.5, "the film shows only a part of the lungs")
    beyond = np.ones((50, 50), bool)
    found = assess(beyond, None, screening("cut_off", 0.95, reasons=(cut,)))
    assert names(found)[0] == "cut_off"
    assert names(found).count("cut_off") == 1
    assert found.accepted


@pytest.mark.parametrize(("certainty", "accepted"), [(0.6, False), (0.95, True)])
def test_a_doubtful_film_without_two_lungs_is_no_chest_xray(certainty: float, accepted: bool) -> None:
    odd = Reason("lateral", 0.1, 0.5, "the film looks lateral, not frontal")
    found = assess(ONE, 0.9, screening("lateral", certainty, reasons=(odd,)))
    assert found.accepted is accepted
    assert ("not_chest_xray" in names(found)) is not accepted
    assert {"lateral", "one_lung"} <= set(names(found))
    # With a plausible mask doubt alone does not refuse.
    assert assess(LUNGS, 0.9, screening("lateral", certainty, reasons=(odd,))).accepted


def test_a_corrected_reason_is_told_and_nothing_is_wrong() -> None:
    inverted = Reason("inverted", 0.0, 0.5, "the grey levels are inverted; corrected", corrected=True)
    found = assess(LUNGS, 0.9, screening("frontal", 0.95, reasons=(inverted,)))
    assert (found.ok, found.corrected, names(found)) == (True, ("inverted",), ["inverted"])
    pixels = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(found.apply(pixels), 1 - pixels)
    assert assess(LUNGS).apply(pixels) is pixels


def test_all_reasons_are_named_and_safe_for_json() -> None:
    cut = Reason("cut_off", 0.1, 0.5, "x")
    found = assess(np.ones((9, 9), bool), 0.1, screening("cut_off", 0.95, reasons=(cut,)))
    assert set(names(found)) <= set(REASONS)
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["accepted"] is True
    assert values["values"]["chest"] == pytest.approx(found.values["chest"])
