from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from lungcls import weights
from lungcls.errors import WeightsError
from lungcls.files import file_sha256
from lungcls.weights import (
    card_sha256,
    find_weights,
    load_card,
    load_state,
    released,
    save_weights,
    write_card,
)

STATE = {
    "a.weight": torch.linspace(-1, 1, 12).reshape(3, 4).T,  # not contiguous
    "norm.num_batches_tracked": torch.tensor(70_000),
}


@pytest.fixture
def saved(tmp_path: Path, make_card_values: Callable[..., dict[str, Any]]) -> Path:
    return save_weights(tmp_path / "out", STATE, **make_card_values())


def _edit(path: Path, **changes: Any) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))


def test_round_trip(saved: Path, make_card_values: Callable[..., dict[str, Any]]) -> None:
    card, state = load_state(saved)
    expected = make_card_values()
    assert {key: getattr(card, key) for key in expected} == expected
    assert card.sha256 == file_sha256(saved)
    assert sorted(path.name for path in saved.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]
    assert state.keys() == STATE.keys()
    assert state["a.weight"].dtype == torch.float32
    torch.testing.assert_close(state["a.weight"], STATE["a.weight"].half().float(), rtol=0, atol=0)
    # Counters are no numbers to be rounded: 70,000 is beyond float16.
    assert state["norm.num_batches_tracked"] == 70_000


def test_files_are_float16_safetensors(saved: Path) -> None:
    with safe_open(saved, "pt") as file:
        assert file.get_tensor("a.weight").dtype == torch.float16
        assert file.get_tensor("norm.num_batches_tracked").dtype == torch.int64


def test_a_card_written_anew_keeps_the_weights_valid(saved: Path) -> None:
    card = load_card(saved)
    write_card(saved, type(card)(**{**card.to_dict(), "temperature": 2.0}))
    again, _ = load_state(saved)
    assert again.temperature == 2.0
    assert again.sha256 == card.sha256


@pytest.mark.parametrize("place", [0, 60, -1])
def test_a_damaged_file_is_refused(saved: Path, place: int) -> None:
    content = bytearray(saved.read_bytes())
    content[place] ^= 1
    saved.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match=r"tiny\.safetensors: SHA-256 is [0-9a-f]{64}, its card says"):
        load_state(saved)


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-8])
    with pytest.raises(WeightsError, match=r"tiny\.safetensors: SHA-256"):
        load_state(saved)


def test_another_files_weights_are_refused(saved: Path, make_card_values: Callable[..., Any]) -> None:
    other = save_weights(saved.parent, {"a.weight": torch.zeros(2)}, **make_card_values(name="other"))
    shutil.copy(other, saved)
    with pytest.raises(WeightsError, match=r"tiny\.safetensors: SHA-256"):
        load_state(saved)


def test_a_missing_card_is_named(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"tiny\.json: the card is missing"):
        load_card(saved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"", "not readable as JSON"),
        (b"[1]", "a JSON list; expected an object"),
        (b"null", "a JSON NoneType; expected an object"),
        (b"{}", "lacks the fields architecture, classes"),
    ],
)
def test_a_card_that_is_none(saved: Path, content: bytes, message: str) -> None:
    saved.with_suffix(".json").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"tiny\.json: .*{message}"):
        load_state(saved)


FIELDS = (
    "name", "task", "architecture", "input_size", "value_range", "mean", "std", "region", "classes",
    "temperature",
    "thresholds", "training_data", "recipe", "metrics", "versions", "licence", "sha256",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(saved: Path, field: str) -> None:
    card = saved.with_suffix(".json")
    values = json.loads(card.read_text())
    del values[field]
    card.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=rf"tiny\.json: the card lacks the fields {field}$"):
        load_card(saved)


def test_unknown_fields_are_named(saved: Path) -> None:
    _edit(saved, mena=0.5, colour="grey")
    with pytest.raises(WeightsError, match=r"tiny\.json: the card has unknown fields colour, mena"):
        load_card(saved)


def test_a_card_of_a_later_format_says_what_to_do(saved: Path) -> None:
    # Its fields may be others, which must not be what the message complains of.
    _edit(saved, format=2, brightness=1)
    with pytest.raises(WeightsError, match=r"format 2; this lungcls reads 1\. Update lungcls"):
        load_card(saved)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "detection"),
        ("input_size", 0),
        ("input_size", 32.5),
        ("input_size", "32"),
        ("mean", "0.5"),
        ("mean", float("nan")),
        ("std", 0),
        ("std", -0.25),
        ("temperature", 0.0),
        ("temperature", float("inf")),
        ("temperature", None),
        ("region", None),
        ("region", "mask"),
        ("region", {"name": "lungs"}),
        ("region", {"name": "mask", "margin": 2}),
        ("region", {"name": "mask", "grow": 0.1}),
        ("value_range", [0, 255]),
        ("value_range", [0]),
        ("value_range", 1),
        ("classes", []),
        ("classes", "COVID"),
        ("architecture", "densenet121"),
        ("thresholds", [0.5]),
    ],
)
def test_an_impossible_value_is_named(saved: Path, field: str, value: Any) -> None:
    _edit(saved, **{field: value})
    with pytest.raises(WeightsError, match=rf"tiny\.json: .*{field}"):
        load_card(saved)


def test_a_card_may_lack_conformal_scores_but_not_have_wrong_ones(saved: Path) -> None:
    values = json.loads(saved.with_suffix(".json").read_text())
    del values["conformal"]
    saved.with_suffix(".json").write_text(json.dumps(values))
    assert load_card(saved).conformal == {}
    for wrong in ([], {"score": "lax"}, {"score": "lac", "classes": {"COVID": {}}}):
        _edit(saved, conformal=wrong)
        with pytest.raises(WeightsError, match=r"tiny\.json: conformal: .*lungcls calibrate"):
            load_card(saved)


def test_the_hash_of_a_card_changes_with_its_calibration(saved: Path) -> None:
    card = load_card(saved)
    assert card_sha256(card) == card_sha256(load_card(saved))
    assert card_sha256(replace(card, temperature=2.0)) != card_sha256(card)


@pytest.mark.parametrize("thresholds", [{}, {"lungs": 0.5}, {"mask": 0}, {"mask": 1}, {"mask": "0.5"}])
def test_a_segmenter_needs_its_threshold(saved: Path, thresholds: dict[str, Any]) -> None:
    _edit(saved, task="segmentation", region=None, thresholds=thresholds)
    with pytest.raises(WeightsError, match=r"tiny\.json: thresholds\.mask is"):
        load_card(saved)


@pytest.mark.parametrize("missing", ["chest", "film", "frontal", "inverted", "distance"])
def test_a_gate_needs_its_thresholds(saved: Path, missing: str) -> None:
    thresholds: dict[str, Any] = dict.fromkeys(("chest", "film", "frontal", "inverted", "distance"), 0.5)
    _edit(saved, task="gate", region=None, thresholds=thresholds)
    assert load_card(saved).task == "gate"
    for wrong in ({}, {missing: 0}, {missing: "0.5"}):
        _edit(saved, thresholds={**{key: 0.5 for key in thresholds if key != missing}, **wrong})
        with pytest.raises(WeightsError, match=rf"tiny\.json: thresholds\.{missing} is"):
            load_card(saved)


def test_a_segmenter_has_no_region(saved: Path) -> None:
    _edit(saved, task="segmentation", thresholds={"mask": 0.5})
    with pytest.raises(WeightsError, match="all others none"):
        load_card(saved)


def test_nothing_is_written_where_the_card_would_be_wrong(
    tmp_path: Path, make_card_values: Callable[..., Any]
) -> None:
    with pytest.raises(WeightsError, match="input_size"):
        save_weights(tmp_path / "out", STATE, **make_card_values(input_size=0))
    assert list(tmp_path.rglob("*.*")) == []


def test_missing_weights_list_what_there_is(
    tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_release_folder", lambda: saved.parent)
    assert released() == ["tiny"]
    assert find_weights("tiny") == saved
    assert load_card("tiny") == load_card(saved) == load_card(str(saved))
    for name in ("nothing", tmp_path / "no.safetensors", str(saved.with_suffix(".pt"))):
        with pytest.raises(WeightsError, match=r"no such weight file; .*released names: tiny"):
            find_weights(name)


@pytest.mark.parametrize("name", released())
def test_released_weights_are_whole(name: str) -> None:
    card, state = load_state(name)
    assert card.name == name
    assert all(np.isfinite(value.numpy()).all() for value in state.values())


def test_a_card_without_a_tone_has_the_one_before_there_were_others(saved: Path) -> None:
    assert load_card(saved).tone == "range"
    values = json.loads(saved.with_suffix(".json").read_text())
    del values["tone"]
    saved.with_suffix(".json").write_text(json.dumps(values))
    assert load_card(saved).tone == "range"
    _edit(saved, tone="ranks")
    with pytest.raises(WeightsError, match=r"tiny\.json: tone is 'ranks'; expected one of range, levels"):
        load_card(saved)


def test_all_that_is_wrong_is_named_at_once(saved: Path) -> None:
    _edit(saved, std=-1, temperature="warm", sha256="abc")
    with pytest.raises(
        WeightsError, match=r"std is -1; .*temperature is 'warm'; .*sha256 is 'abc'; expected 64"
    ):
        load_card(saved)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../../etc/cron"),
        ("name", ".hidden"),
        ("name", "a\x00b"),
        ("task", []),
        ("input_size", True),
        ("input_size", 10**9),
        ("mean", 10**400),
        ("temperature", True),
        ("classes", [["COVID"], {}]),
        ("classes", ["COVID", "COVID"]),
        ("region", {"name": []}),
        ("region", {"name": "mask", "margin": float("nan")}),
        ("architecture", {"model": "densenet", "blocks": [10**9]}),
        ("architecture", {"model": "densenet", "blocks": [4] * 1000}),
        ("architecture", {"model": {"model": "unet"}}),
        ("versions", {"torch": 2}),
        ("conformal", {"score": [], "classes": {}}),
        ("files", {"../other.onnx": "0" * 64}),
        ("files", {"a.onnx": "x"}),
        ("ancestors", {"name": "other"}),
        ("licence", None),
    ],
)
def test_hostile_values_are_refused(saved: Path, field: str, value: Any) -> None:
    _edit(saved, **{field: value})
    with pytest.raises(WeightsError, match=rf"tiny\.json: .*{field}"):
        load_card(saved)


def test_a_card_that_is_nested_beyond_measure_or_huge(saved: Path) -> None:
    card = saved.with_suffix(".json")
    card.write_text("[" * 200_000)
    with pytest.raises(WeightsError, match="not readable as JSON"):
        load_card(saved)
    with card.open("wb") as file:
        file.truncate(1 << 25)  # a file with a hole: no byte of it is stored
    with pytest.raises(WeightsError, match=r"tiny\.json: 33,554,432 bytes; expected at most"):
        load_card(saved)


def test_weights_that_claim_any_size_are_not_read(saved: Path) -> None:
    with saved.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(WeightsError, match=r"tiny\.safetensors: 1,099,511,627,776 bytes; expected at most"):
        load_state(saved)


def test_what_is_no_safetensors_is_named_though_its_hash_is_right(saved: Path) -> None:
    saved.write_bytes(b"\xff" * 64)
    _edit(saved, sha256=file_sha256(saved))
    with pytest.raises(WeightsError, match=r"tiny\.safetensors: not readable as safetensors"):
        load_state(saved)


def _mutated(random: Random, value: Any) -> Any:
    """A value with one thing in it changed for something that no card should have."""
    odd = random.choice(
        [
            None,
            True,
            -1,
            0,
            10**400,
            1e308,
            float("nan"),
            "",
            "\ud800",
            "../x",
            [],
            {},
            [[]],
            {"": None},
            "9" * 9999,
        ]
    )
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(sorted(value))
        kept = {name: one for name, one in value.items() if name != key or random.random() < 0.9}
        return {**kept, key: _mutated(random, value[key])} if key in kept else kept
    if isinstance(value, list) and value and random.random() < 0.7:
        index = random.randrange(len(value))
        return [*value[:index], _mutated(random, value[index]), *value[index + 1 :]]
    return odd


@pytest.mark.parametrize("name", ["classifier-mask", "segmenter", "gate"])
def test_mutated_cards_are_refused_or_usable(name: str, tmp_path: Path) -> None:
    """A quick fuzz, the same at each run; `scripts/fuzz_cards.py` goes on for as long as one likes."""
    whole = json.loads(find_weights(name).with_suffix(".json").read_text())
    path = tmp_path / f"{name}.safetensors"
    path.touch()
    random = Random(0)
    refused = longest = 0
    for _ in range(400):
        values = whole
        for _ in range(random.randint(1, 3)):
            values = _mutated(random, values)
        text = json.dumps(values).encode()
        if random.random() < 0.2:
            place = random.randrange(len(text))
            text = text[:place] + bytes([random.randrange(256)]) + text[place + 1 :]
        path.with_suffix(".json").write_bytes(text)
        try:
            card = load_card(path)
        except WeightsError as error:
            longest = max(longest, len(str(error)))
            refused += 1
        else:
            assert json.dumps(card.to_dict())
    assert 100 < refused < 400
    assert longest < 5000
