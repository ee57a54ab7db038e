"""Every option of every command, with values that are wrong for it: one line, exit code 2, at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lungcls.cli.main import COMMANDS, app

# What anything may be said of: there is no wrong value but for what the system refuses.
FREE = {"--root", "--name", "--out", "--target", "--layer", "--cache", "--deidentify"}
NO_WRONG_VALUE = ("help", "root_path", "allowed_host", "report")
"""Parameters with which a service would start, and go on, whatever is said; the file of a report."""
LEFT_OUT = {"train-release"}
"""A command that hands its words to a script of a checkout."""
TOLD_LATER = {
    # A node listens before it loads weights, so that no film is missed: these are told then.
    "dicom serve": ("aet", "allow", "queue", "region", "classifier", "segmenter", "host", "deidentify"),
    "dicom queue": ("queue",),  # any name of a folder; one without a queue is told
    "dicom pull": ("user",),
    "dicom push": ("user", "journal"),
}
"""Parameters by command, for which what is wrong is told by another machine, or not at once."""


def commands() -> Iterator[tuple[list[str], Any]]:
    """Every command that does something, with the words that call it."""
    for entry in COMMANDS:
        if entry.name in LEFT_OUT:
            continue
        command = entry.load()
        nested = getattr(command, "commands", None)
        if nested is None:
            yield [entry.name], command
        else:
            yield from (([entry.name, name], sub) for name, sub in nested.items())


def cases() -> Iterator[Any]:
    for words, command in commands():
        names = {name for param in command.params for name in param.opts}
        for param in command.params:
            if param.param_type_name != "option" or param.is_flag:
                continue
            if param.name in (*NO_WRONG_VALUE, *TOLD_LATER.get(" ".join(words), ())):
                continue
            option = next(name for name in param.opts if name.startswith("--"))
            for value in ("no-such-thing", "-7", "nan"):
                # One value for each option is tried each time, the others before a release; so is what may
                # be any word, with which a command does all its work.
                marks = () if value == "nan" and option not in FREE else pytest.mark.slow
                name = f"{' '.join(words)} {option} {value}"
                yield pytest.param(words, option, value, names, id=name, marks=marks)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np
    from PIL import Image

    path = tmp_path_factory.mktemp("films") / "a.png"
    Image.fromarray(np.zeros((80, 80), np.uint8)).save(path)
    return path


ARGUMENTS = {
    "train": ["segmenter"],
    "tune": ["segmenter"],
    "calibrate": ["classifier-mask"],
    "report": ["classifier-mask"],
    "paper": ["classifier-mask"],
    "shortcuts": ["classifier-mask"],
    "dicom serve": ["--to", "A@127.0.0.1:4242", "--allow", "A", "--port", "0"],
    "dicom pull": ["http://127.0.0.1:9/none"],  # nobody listens there
    "dicom push": ["http://127.0.0.1:9/none", "a.dcm"],
}


@pytest.mark.parametrize(("words", "option", "value", "names"), list(cases()))
def test_a_wrong_value_is_one_line(
    words: list[str],
    option: str,
    value: str,
    names: set[str],
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # what is taken for a folder is made there
    place = {
        **dict.fromkeys(("predict", "segment", "explain", "features"), film),
        **dict.fromkeys(("finetune", "masks"), film.parent),
    }.get(words[0])
    arguments = [str(place)] if place else ARGUMENTS.get(" ".join(words), [])
    # A folder that is there and holds no dataset: whatever gets so far ends there.
    for name, folder in (("--data", film.parent), ("--out", tmp_path / "out")):
        if name in names and name != option:
            arguments = [*arguments, name, str(folder)]
    result = CliRunner().invoke(app, [*words, *arguments, f"{option}={value}"])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (0, 1, 2)
    if option not in FREE:
        assert result.exit_code == 2, result.output
    if result.exit_code == 2:
        assert result.stderr.startswith("lungcls: ")
        assert result.stderr.count("\n") == 1, result.stderr
