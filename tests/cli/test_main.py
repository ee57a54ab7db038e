from __future__ import annotations

import logging
import sys

import pytest
from typer.testing import CliRunner

import lungcls
from lungcls.cli import main as module
from lungcls.cli.main import app, main
from lungcls.errors import DataError
from lungcls.labels import NOTICE


def test_help_names_every_command_and_the_notice() -> None:
    result = CliRunner().invoke(app, ["--help"], terminal_width=200)
    assert result.exit_code == 0
    for command in ("predict", "segment", "explain", "train", "evaluate", "info", "data"):
        assert f" {command} " in result.stdout
    assert " ".join(NOTICE.split()[:4]) in " ".join(result.stdout.split())


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"lungcls {lungcls.__version__}\n")


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["predict", "--no-such-option", "a.png"]])
def test_wrong_use(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2


def test_errors_of_the_library_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise DataError("folder x: found nothing")

    monkeypatch.setattr(module, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr() == ("", "lungcls: folder x: found nothing\n")


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "app", fail)
    with pytest.raises(ZeroDivisionError):
        main()


def test_verbose_shows_what_the_library_logs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "argv", ["lungcls", "--verbose", "info"])
    with pytest.raises(SystemExit):
        main()
    logging.getLogger("lungcls.somewhere").info("a line")
    assert "INFO lungcls.somewhere: a line" in capsys.readouterr().err
