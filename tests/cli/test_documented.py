"""Every command that a document names exists and takes the options that are written behind it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from lungcls.cli.lazy import LazyCommand
from lungcls.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(text: str) -> list[list[str]]:
    """Words after ``lungcls`` of each command in a page's blocks and code spans."""
    blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines() + re.findall(r"`(lungcls [^`\n]+)`", text)
    found = [re.search(r"(?:^|\$ |&& )lungcls (.*?)(?: #.*| &&.*)?$", line) for line in lines]
    return [shlex.split(one.group(1)) for one in found if one]


def wrong(words: list[str]) -> str | None:
    """What the command line has not, of one command."""
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        # `data summary\|audit` stands for two commands.
        names = [name.rstrip("\\") for name in words.pop(0).split("|")]
        lacking = [name for name in names if name not in command.commands]
        if lacking:
            return f"no command {', '.join(lacking)}"
        command = command.commands[names[0]]
        command = command.load() if isinstance(command, LazyCommand) else command
    known = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)} | {"--help"}
    lacking = [word for word in words if re.match(r"--?[a-z]", word) and word not in known]
    return f"{command.name} has no {lacking}" if lacking else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_and_options_exist(page: Path) -> None:
    if not page.is_file():
        pytest.skip("the tests run without the checkout: there are no documents")
    found = [(words, wrong(list(words))) for words in commands(page.read_text(encoding="utf-8"))]
    assert not [one for one in found if one[1]]


def test_a_command_that_is_none_is_found() -> None:
    block = "```sh\nlungcls predict a.png --no-such 1  # words\npip install . && lungcls nothing\n```\n"
    found = [wrong(words) for words in commands(f"{block}`lungcls info --json`")]
    assert found == ["predict has no ['--no-such']", "no command nothing", None]
