from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungcls.errors import WeightsError
from lungcls.gate.screening import FOREIGN, KINDS, Gate, Screening, judge
from lungcls.phantom import chest_phantom
from lungcls.regions import whole_view
from lungcls.weights import load_card

THRESHOLDS = {"chest": 0.5, "film": 0.5, "frontal": 0.5, "distance": 2.0, "inverted": 0.9}


def values(distance: float = 1.0, **logits: float) -> np.ndarray:
    """Outputs of the network: logits of the kinds that are named, 0 for the others, and the distance."""
    return np.array([*(logits.get(kind, 0.0) for kind in KINDS), distance], np.float32)


def names(found: Screening) -> list[str]:
    return [reason.name for reason in found.reasons]


def test_a_frontal_film_is_accepted_without_a_reason() -> None:
    found = judge(values(frontal=12), THRESHOLDS)
    assert (found.accepted, found.reasons) == (True, ())
    assert found.chest == pytest.approx(1, abs=1e-4)
    assert sum(found.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS[1:] if kind not in FOREIGN])
def test_what_is_wrong_with_a_film_is_named(kind: str) -> None:
    found = judge(values(**{kind: 12}), THRESHOLDS)
    assert (found.accepted, names(found)) == (True, [kind])
    reason = found.reasons[0]
    assert reason.value < reason.threshold == 0.5


@pytest.mark.parametrize(("kind", "name"), [("other", "not_chest_xray"), ("ct_slice", "ct_slice")])
def test_what_is_no_chest_xray_is_not_accepted(kind: str, name: str) -> None:
    found = judge(values(**{kind: 12}), THRESHOLDS)
    assert (found.accepted, names(found)) == (False, [name])
    assert found.reasons[0].value == found.chest < 0.5


def test_what_may_be_an_odd_film_must_be_one_beyond_doubt() -> None:
    strict = {**THRESHOLDS, "film": 0.9}
    doubtful = judge(values(rotated_90=12, other=11), strict)
    assert 0.5 < doubtful.chest < 0.9
    assert (doubtful.accepted, names(doubtful)) == (False, ["not_chest_xray"])
    lateral = judge(values(lateral=12, other=11), strict)
    assert (lateral.accepted, names(lateral)) == (False, ["lateral"])
    assert judge(values(frontal=12, other=11), strict).accepted


def test_a_frontal_film_far_from_the_training_data_is_flagged() -> None:
    found = judge(values(frontal=12, distance=2.1), THRESHOLDS)
    assert (found.accepted, names(found)) == (True, ["out_of_distribution"])
    assert names(judge(values(frontal=12, distance=2.0), THRESHOLDS)) == []


class Scripted:
    """A network that looks inverted where the upper half of a view is bright, and frontal elsewhere."""

    engine, device = "torch", "cpu"

    def __init__(self, second: dict[str, float]) -> None:
        self.second = second
        self.calls = 0

    def __call__(self, views: np.ndarray) -> np.ndarray:
        self.calls += 1
        bright = views[:, : views.shape[1] // 2].mean((1, 2)) > 128
        return np.stack([values(inverted=12) if one else values(**self.second) for one in bright])


@pytest.fixture
def card() -> Any:
    return load_card("gate")


def test_inverted_grey_levels_are_corrected_where_that_is_certain(card: Any) -> None:
    film = np.tile(np.linspace(1, 0, 90, dtype=np.float32)[:, None], (1, 80))
    network = Scripted({"frontal": 12})
    (found,) = Gate(card, network).screen([film])
    assert (found.accepted, found.corrected, names(found)) == (True, True, ["inverted"])
    assert found.probabilities["frontal"] > 0.9
    np.testing.assert_array_equal(found.apply(film), 1 - film)
    assert network.calls == 2


@pytest.mark.parametrize("second", [{"other": 12.0}, {"ct_slice": 12.0}])
def test_inverted_grey_levels_stay_where_the_inverse_is_no_film(card: Any, second: dict[str, float]) -> None:
    film = np.tile(np.linspace(1, 0, 90, dtype=np.float32)[:, None], (1, 80))
    (found,) = Gate(card, Scripted(second)).screen([film])
    assert (found.corrected, names(found)) == (False, ["inverted"])
    assert found.apply(film) is film


def test_nothing_in_nothing_out(card: Any) -> None:
    assert Gate(card, Scripted({})).screen([]) == []


def test_other_weights_are_refused(tiny_classifier: Path) -> None:
    with pytest.raises(WeightsError, match="weights are for classification"):
        Gate.load(tiny_classifier, "cpu")


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate.load("gate", "cpu")


def test_the_released_gate_accepts_drawn_chests_and_sees_them_turned(gate: Gate) -> None:
    films = [chest_phantom(128, seed=seed).image for seed in range(12)]
    assert sum(not one.reasons for one in gate.screen(films)) >= 11
    for quarters, name in ((1, "rotated_90"), (2, "rotated_180"), (3, "rotated_270")):
        turned = gate.screen([np.ascontiguousarray(np.rot90(film, quarters)) for film in films])
        assert sum(names(one) == [name] for one in turned) >= 10
    inverted = gate.screen([1 - film for film in films])
    assert sum(names(one) == ["inverted"] for one in inverted) >= 10


def test_the_released_gate_refuses_what_is_no_film(gate: Gate) -> None:
    import skimage.data

    rng = np.random.default_rng(0)
    pictures = [
        skimage.data.astronaut()[..., 1] / 255, skimage.data.page() / 255, skimage.data.brick() / 255,
        skimage.data.coins() / 255, skimage.data.grass() / 255, rng.random((200, 200)),
        np.clip(0.5 + 0.005 * rng.normal(size=(200, 200)), 0, 1),
    ]  # fmt: skip
    found = gate.screen([picture.astype(np.float32) for picture in pictures])
    assert [one.accepted for one in found] == [False] * len(pictures)
    assert all(reason.name in ("not_chest_xray", "ct_slice") for one in found for reason in one.reasons)


def test_an_answer_does_not_depend_on_the_rest_of_the_batch(gate: Gate) -> None:
    films = [chest_phantom(size, seed=1).image for size in (100, 140, (90, 130))]
    together = gate.screen(films)
    for film, one in zip(films, together):
        (alone,) = gate.screen([film])
        assert alone.chest == pytest.approx(one.chest, abs=1e-4)


def test_the_network_knows_its_frontal_films(gate: Gate) -> None:
    view, _ = whole_view(chest_phantom(200, seed=4).image, gate.card.input_size)
    outputs = gate.outputs(view[None])
    assert outputs.shape == (1, len(KINDS) + 1)
    assert outputs[0, -1] > 0


@pytest.mark.slow
def test_real_films(gate: Gate, real_data: Path) -> None:
    from lungcls.data import open_radiography, split_dataset
    from lungcls.images import read_image

    database = open_radiography(real_data)
    records = split_dataset(database, seed=0).select(database.records, "test")[::20]
    films = [read_image(database.path(record)).pixels for record in records]
    assert np.mean([not one.reasons for one in gate.screen(films)]) >= 0.95
    assert np.mean([bool(one.reasons) for one in gate.screen([film[::-1] for film in films])]) >= 0.95
