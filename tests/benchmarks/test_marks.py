from __future__ import annotations

import pytest
from marks import between_marks


def test_a_table_stands_between_its_marks_and_nothing_else_changes() -> None:
    text = (
        "a\n<!-- one: written by x.py -->\nold\n<!-- end of one -->\nb\n<!-- two: -->\n<!-- end of two -->\n"
    )
    once = between_marks(text, "one", "| new \\1 |")
    assert once == text.replace("old", "| new \\1 |")
    assert between_marks(once, "one", "| new \\1 |") == once
    assert between_marks(once, "two", "x") == once.replace("two: -->\n", "two: -->\nx\n")
    with pytest.raises(ValueError, match="no marks for the table 'three'"):
        between_marks(text, "three", "x")
