"""The packaged checklists, and how an item is filled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lungcls.paper
from lungcls.errors import DataError
from lungcls.paper.checklists import DOES_NOT_APPLY, FILLED, NAMES, NEEDS_YOU, Item, answer, load_checklist
from lungcls.paper.fact import Fact
from lungcls.paper.references import entries

ITEMS = {"claim-2024": 44, "tripod-ai": 52, "stard-ai": 48, "metrics": 30}
"""With sub-items such as 15a, as the papers number them."""


@pytest.mark.parametrize("name", NAMES)
def test_a_checklist_has_all_its_items_once(name: str) -> None:
    checklist = load_checklist(name)
    numbers = [item.number for item in checklist.items]
    assert len(numbers) == len(set(numbers)) == ITEMS[name]
    assert [int(re.match(r"\d+", one)[0]) for one in numbers] == sorted(  # type: ignore[index]
        int(re.match(r"\d+", one)[0])  # type: ignore[index]
        for one in numbers
    )
    assert checklist.reference in entries()


def test_every_fact_that_an_item_names_is_one_that_is_looked_for() -> None:
    room = Path(lungcls.paper.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in room.glob("facts*.py"))
    known = set(re.findall(r'yield\s*\(?\s*"(\w+)"', source))
    for name in NAMES:
        for item in load_checklist(name).items:
            assert {*item.facts, *item.helps, *item.moot} <= known, (name, item.number)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_filled_where_nothing_is_known(name: str) -> None:
    answers = [answer(item, {}) for item in load_checklist(name).items]
    assert {one.state for one in answers} == {NEEDS_YOU}
    assert all(one.ask and not one.value and not one.file for one in answers)


def test_an_item_is_filled_by_all_its_facts_and_set_aside_by_a_reason() -> None:
    item = Item("1", "Methods", "text", facts=("a", "b"), helps=("c",), moot=("never",), ask="Write it.")
    facts = {"a": Fact("one", "a.json"), "c": Fact("three", "c.csv")}
    half = answer(item, facts)
    assert (half.state, half.value, half.file, half.ask) == (
        NEEDS_YOU,
        "One. Three.",
        "a.json; c.csv",
        "Write it.",
    )
    whole = answer(item, {**facts, "b": Fact("two.", "a.json")})
    assert (whole.state, whole.value, whole.ask) == (FILLED, "One. Two. Three.", "")
    moot = answer(item, {**facts, "never": Fact("no reader", "card.json")})
    assert (moot.state, moot.value, moot.file) == (DOES_NOT_APPLY, "No reader.", "card.json")


def test_an_unknown_checklist_is_refused() -> None:
    with pytest.raises(DataError, match="no checklist 'strobe'; the checklists are claim-2024"):
        load_checklist("strobe")
