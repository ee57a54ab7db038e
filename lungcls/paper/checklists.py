"""Reporting checklists as data, and each item filled from facts, left to a person, or set aside."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from lungcls.errors import DataError
from lungcls.paper.fact import Fact

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILLED: Final = "filled"
NEEDS_YOU: Final = "needs you"
DOES_NOT_APPLY: Final = "does not apply"

NAMES: Final = ("claim-2024", "tripod-ai", "stard-ai", "metrics")
"""The checklists, by the names of their files."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a checklist.

    Attributes
    ----------
    number, section, text : str
        The text is in the library's own, shorter words.
    facts : tuple of str
        Names of facts that answer it: filled where all are known.
    helps : tuple of str
        Names of facts that are shown where they are known, and never suffice.
    moot : tuple of str
        Names of facts of which any makes the item not apply.
    ask : str
        What a person is to write.
    """

    number: str
    section: str
    text: str
    facts: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    moot: tuple[str, ...] = ()
    ask: str = ""


@dataclass(frozen=True, slots=True)
class Checklist:
    """A checklist: its name, what it is, the key of its reference, how it is meant, and its items."""

    key: str
    name: str
    title: str
    reference: str
    scope: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """An item with its state.

    Attributes
    ----------
    item : Item
    state : {"filled", "needs you", "does not apply"}
    value : str
        What is known; the reason of an item that does not apply; may be empty where it needs you.
    file : str
        Where that is from.
    ask : str
        What is left to write; empty unless it needs you.
    """

    item: Item
    state: str
    value: str
    file: str
    ask: str


def load_checklist(name: str) -> Checklist:
    """Read one of the packaged checklists.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`.

    Raises
    ------
    DataError
        If there is none of this name.
    """
    if name not in NAMES:
        raise DataError(f"there is no checklist {name!r}; the checklists are {', '.join(NAMES)}")
    values = tomllib.loads((files("lungcls.paper") / "items" / f"{name}.toml").read_text(encoding="utf-8"))
    items = tuple(_item(one) for one in values.pop("items"))
    return Checklist(key=name, items=items, **values)


def _item(values: Mapping[str, Any]) -> Item:
    keywords: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Item(**keywords)


def answer(item: Item, facts: Mapping[str, Fact]) -> Answer:
    """Fill an item from what is known.

    Parameters
    ----------
    item : Item
    facts : mapping of str to Fact

    Returns
    -------
    Answer
        ``filled`` only where every fact that the item names is known.
    """
    moot = [facts[name] for name in item.moot if name in facts]
    if moot:
        return _of(item, DOES_NOT_APPLY, moot, "")
    facts_there = [facts[name] for name in (*item.facts, *item.helps) if name in facts]
    if item.facts and all(name in facts for name in item.facts):
        return _of(item, FILLED, facts_there, "")
    return _of(item, NEEDS_YOU, facts_there, item.ask or "The files of the run do not say it: write it.")


def _of(item: Item, state: str, facts: list[Fact], ask: str) -> Answer:
    names = dict.fromkeys(name for one in facts for name in one.file.split("; "))
    return Answer(item, state, _sentences(facts), "; ".join(names), ask)


def _sentences(facts: list[Fact]) -> str:
    texts = (one.text.rstrip(".") for one in facts)
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in texts)
