from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import lungcls
from lungcls.cli.lazy import Commands, LazyCommand
from lungcls.cli.main import COMMANDS, app
from lungcls.errors import DataError, OptionError
from lungcls.labels import NOTICE

ROOT = Path(lungcls.__file__).parent.parent


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def failing(error: BaseException) -> typer.Typer:
    """An application of one command that raises."""
    application = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_enable=False)

    @application.callback()
    def options() -> None: ...

    @application.command()
    def fail() -> None:
        raise error

    return application


def test_help_names_every_command_and_the_notice() -> None:
    result = CliRunner().invoke(app, ["--help"], terminal_width=200)
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command.name} " in result.stdout
    assert " ".join(NOTICE.split()[:4]) in " ".join(result.stdout.split())


def test_help_imports_no_command() -> None:
    code = """
import sys
from lungcls.cli.main import app
try:
    app(["--help"])
except SystemExit:
    commands = {name for name in sys.modules if name.startswith("lungcls.cli.")}
    known = ("lazy", "main", "noise", "renamed", "run_report")
    assert commands == {f"lungcls.cli.{name}" for name in known}, commands
"""
    assert python(code).stderr == ""


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"lungcls {lungcls.__version__}\n")


@pytest.mark.parametrize("words", [[], ["data"]])
def test_without_a_command_the_help_is_shown(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "Usage:" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predct"], "Did you mean 'predict'? Try `lungcls --help`."),
        (["data", "splt"], "Try `lungcls data --help`."),
        (["predict", "--no-such-option", "a.png"], "No such option: --no-such-option"),
        (["predict"], "Missing argument 'INPUT...'. Try `lungcls predict --help`."),
        (["data", "split", "--seed", "one", "-o", "x"], "Try `lungcls data split --help`."),
    ],
)
def test_wrong_words_are_one_line_that_names_the_help(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, words, prog_name="lungcls")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("lungcls: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (DataError("folder x: found nothing"), "folder x: found nothing", 2),
        (OptionError("seeds is 0; expected at least 1"), "seeds is 0; expected at least 1", 2),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a.txt/out"), "a.txt/out: Not a directory", 2),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device", 1),
        (KeyboardInterrupt(), "interrupted", 130),
    ],
)
def test_errors_become_one_line(error: BaseException, line: str, code: int) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"lungcls: {line}\n")


def test_bugs_are_not_hidden() -> None:
    result = CliRunner().invoke(failing(ZeroDivisionError()), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_command_without_its_package_says_what_installs_it() -> None:
    code = """
import sys
sys.modules["uvicorn"] = None
from lungcls.cli.main import app
app(["serve"])
"""
    result = python(code)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "lungcls: `lungcls serve` needs the package 'uvicorn', which is not installed; install it with: "
        "pip install 'lungcls[web]'\n"
    )


def test_without_typer_the_command_line_says_what_installs_it() -> None:
    code = "import sys; sys.modules['typer'] = None\nfrom lungcls.__main__ import main\nmain()"
    result = python(code)
    assert (result.returncode, result.stdout) == (2, "")
    assert "pip install typer" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("words", [["--help"], ["info"], ["data", "split", "--help"]])
def test_a_terminal_that_lacks_characters_is_no_error(encoding: str, words: list[str]) -> None:
    code = f"import sys; sys.argv = ['lungcls', *{words}]\nfrom lungcls.__main__ import main\nmain()"
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": encoding, "COLUMNS": "80"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    result.stdout.decode(encoding)


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_a_closed_terminal_is_no_error(closed: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m lungcls --version {closed}'], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_brackets_in_a_help_text_stay() -> None:
    result = CliRunner().invoke(app, ["evaluate", "--help"], terminal_width=200)
    assert "[classes]" in result.stdout


def test_every_entry_names_a_command() -> None:
    for entry in COMMANDS:
        assert isinstance(entry, LazyCommand)
        command = entry.load()
        assert command.help, f"{entry.name} has no help text"


NOISE = """
import logging, sys, warnings
sys.argv = ["lungcls", *{words}]
import lungcls.cli.info
def noisy(*words):
    logging.getLogger("pydicom").warning("foreign log")
    warnings.warn_explicit("foreign warning", UserWarning, "/site-packages/sklearn/x.py", 1)
    for _ in range(3):
        logging.getLogger("lungcls.somewhere").warning("own log")
        warnings.warn_explicit("own warning", UserWarning, lungcls.__file__, 1, registry=None)
    return {{}}
lungcls.cli.info._versions = noisy
from lungcls.__main__ import main
main()
"""


def test_own_warnings_are_said_once_and_those_of_others_not_at_all() -> None:
    result = python(NOISE.format(words=["info"]))
    assert (result.returncode, result.stderr) == (0, "lungcls: own log\nlungcls: own warning\n")
    verbose = python(NOISE.format(words=["--verbose", "info"]))
    assert "WARNING pydicom: foreign log" in verbose.stderr
    assert "foreign warning" in verbose.stderr
    assert "WARNING lungcls.somewhere: own log" in verbose.stderr
