"""The page as it is sent; tests/web/test_browser.py uses it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import lungcls.web
from lungcls.labels import CLASSES, NOTICE
from lungcls.web.cards import card_rows, missed
from lungcls.web.references import class_notes
from lungcls.weights import load_card, released

FOLDER = Path(lungcls.web.__file__).parent
NAMES = ("Alpha", "Beta <b>", "Gamma", "Delta")


class Links(HTMLParser):
    """What a page loads, what it only links to, and what the security policy would forbid."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[dict[str, str | None]] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a":
            self.linked.append(values)
        else:
            self.loaded += [str(values[name]) for name in ("src", "href", "data") if name in values]
        if tag == "style" or (tag == "script" and "src" not in values):
            self.inline.append(tag)
        self.inline += [name for name in values if name == "style" or name.startswith("on")]


@pytest.fixture(scope="module", params=["/", "/reference"])
def links(request: pytest.FixtureRequest, shared_client: Any) -> Links:
    answer = shared_client.get(request.param)
    assert answer.status_code == 200
    found = Links()
    found.feed(answer.text)
    return found


def test_a_page_loads_only_files_of_the_package(links: Links, shared_client: Any) -> None:
    assert links.loaded
    for address in links.loaded:
        assert re.fullmatch(r"static/[\w.]+", address)  # relative, so that a proxy may serve it anywhere
        assert shared_client.get(f"/{address}").status_code == 200


def test_a_page_has_nothing_that_its_policy_forbids(links: Links) -> None:
    assert links.inline == []


def test_style_and_script_load_nothing_from_elsewhere() -> None:
    for file in (FOLDER / "static").iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"^\s*//.*$|\s// .*$", "", text, flags=re.MULTILINE)
        assert "@import" not in text
        assert "url(" not in text
        assert "innerHTML" not in text


def test_outside_links_are_plain_and_tell_nothing(shared_client: Any) -> None:
    found = Links()
    found.feed(shared_client.get("/").text)
    outside = [link for link in found.linked if urlsplit(str(link["href"])).netloc]
    for link in outside:
        assert str(link["href"]).startswith("https://")
        assert "noopener" in str(link["rel"])


def test_class_names_come_from_the_cards(shared_client: Any) -> None:
    text = shared_client.get("/").text
    for name in ("Alpha", "Beta &lt;b&gt;", *CLASSES):
        assert f"<h3>{name}</h3>" in text
    for file in [*(FOLDER / "static").iterdir(), *(FOLDER / "templates").iterdir()]:
        words = re.findall(r"[\w ]+", file.read_text(encoding="utf-8"))
        assert not {name for name in CLASSES if name in words}


def test_the_page_says_what_it_is_not_for(shared_client: Any) -> None:
    text = " ".join(shared_client.get("/").text.split())
    assert NOTICE in text
    assert "It misses disease." in text
    assert "It can tell the hospital instead of the disease." in text


def test_every_released_class_has_something_to_read() -> None:
    cards = [card for card in map(load_card, released()) if card.task == "classification"]
    names = {name for card in cards for name in card.classes}
    for name, notes in class_notes(sorted(names)).items():
        assert notes.note, name
        assert len(notes.references) >= 2, name
        assert all(each.url.startswith("https://") for each in notes.references)


@pytest.mark.parametrize("name", released())
def test_a_released_card_is_shown_with_its_figures(name: str) -> None:
    card = load_card(name)
    rows = dict(card_rows(card))
    assert rows["SHA-256"] == card.sha256
    assert rows["Licence"] == card.licence
    if card.task in ("segmentation", "classification"):
        assert any(key.startswith("Validation: ") for key in rows)
    for label, share in missed(card).items():
        recall = card.metrics["validation"]["per_class"][label]["recall"]["value"]
        assert share == pytest.approx(1 - recall)


def test_the_reference_names_every_path(shared_client: Any) -> None:
    text = shared_client.get("/reference").text
    document = shared_client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/predict",
        "/v1/segment",
        "/v1/explain",
        "/v1/models",
        "/healthz",
        "/metrics",
    }
    for path in document["paths"]:
        assert f"{path}</code></h2>" in text


def test_every_object_of_the_document_is_described(shared_client: Any) -> None:
    document = shared_client.get("/openapi.json").json()
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert named == set(document["components"]["schemas"])
