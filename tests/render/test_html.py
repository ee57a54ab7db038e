from __future__ import annotations

import math
from pathlib import Path

from lungcls.labels import NOTICE
from lungcls.render.html import write_page


def test_a_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows(tmp_path: Path) -> None:
    rows = [{"model": "<b>a", "value": 0.12345}, {"model": "b", "value": math.nan, "n": 1200}]
    page = write_page(
        tmp_path / "index.html",
        "report.html",
        title="A & B",
        notes=["one <i>note"],
        tables={"Models": rows},
        pictures={"a": ["a b/roc.png"]},
    ).read_text(encoding="utf-8")
    assert "http" not in page
    assert NOTICE in page
    assert "<title>A &amp; B</title>" in page
    assert '<th scope="row">&lt;b&gt;a</th><td class="number">0.123</td>' in page.replace("\n", "")
    assert '<td class="number">-</td><td class="number">1200</td>' in page.replace("\n", "")
    assert 'src="a%20b/roc.png"' in page
    # Phones lay a page without it out as wide as a desk.
    assert 'name="viewport" content="width=device-width' in page
