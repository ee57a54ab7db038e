from __future__ import annotations

from collections.abc import Iterator

import pytest

from lungcls.progress import bar


def test_beside_a_list_as_long_the_bar_comes_to_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert len(list(zip(bar(iter("abc"), 3, "working"), range(3)))) == 3
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [False, True])
def test_items_pass_unchanged_and_no_earlier_than_asked(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    else:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
    drawn = []

    def items() -> Iterator[int]:
        for item in range(3):
            drawn.append(item)
            yield item

    watched = bar(items(), 5, "working on [it]", done=2)
    assert next(iter(watched)) == 0
    assert drawn == [0]
    assert list(watched) == [1, 2]
    output = capsys.readouterr()
    assert output.out == ""
    if terminal:
        assert "working on [it]" in output.err
        assert "5/5" in output.err
    else:
        assert output.err == ""


def test_where_there_is_no_terminal_lines_say_how_far_a_long_step_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert list(bar("abc", 2000, "finding [lungs]", done=1200, every=0)) == list("abc")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" of ")[0] for line in lines] == [f"finding [lungs]: 1,20{n}" for n in (1, 2, 3)]
    assert lines[0].endswith("min left")
