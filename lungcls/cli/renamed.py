"""Old names of options, which keep working for one release."""

from __future__ import annotations

from typing import Any, Final

import typer

RENAMED: Final[dict[str, tuple[str, ...]]] = {
    "--split-file": ("--split",),
    "--no-gate": ("--gate", "none"),
}
"""Old name to the words that now say the same."""


def current_words(command: Any, words: list[str]) -> list[str]:
    """Put current names in the place of old ones, and say so on stderr.

    Parameters
    ----------
    command : typer command or group
        Only what it knows by the new name, and not by the old one, is replaced.
    words : list of str
        What was typed after its name.

    Returns
    -------
    list of str
    """
    nested = getattr(command, "commands", {}).get(words[0]) if words else None
    if nested is not None:
        return [words[0], *current_words(nested, words[1:])]
    options = {name for param in command.params for name in param.opts}
    result: list[str] = []
    before = ""
    for word in words:
        name, sign, value = word.partition("=")
        new = RENAMED.get(name, ())
        if new and name not in options and new[0] in options:
            result += [f"{new[0]}{sign}{value}", *new[1:]]
            say_renamed(name, " ".join(new))
        elif "--part" in options and (before == "--split" or name == "--split") and _is_part(value or word):
            # --split once named the part; it now takes the file of a split, as --split-file did.
            part = value or word
            result = result if value else result[:-1]
            result += ["--part", part]
            say_renamed(f"--split {part}", f"--part {part}")
        else:
            result.append(word)
        before = word
    return result


def _is_part(word: str) -> bool:
    return word in ("train", "validation", "test", "all")


def say_renamed(old: str, new: str) -> None:
    """Name the new word for an old one, on stderr."""
    typer.echo(f"lungcls: {old} is now {new}; the old name goes with the next release", err=True)
