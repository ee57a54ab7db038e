"""``--report FILE`` of every command: what was run, with what, how long, and what came of it, as JSON."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import lungcls
from lungcls.errors import LungclsError, OptionError
from lungcls.files import write_json
from lungcls.labels import NOTICE
from lungcls.versions import versions

WORDS: Final = "lungcls.words"
"""Key of a context's ``meta`` under which the words of the command are kept."""

_ASKED: Final = "lungcls.report"
_MOST_FILES: Final = 1000
_WEIGHTS: Final = ("classifier", "segmenter", "gate", "init")


def add_report(command: Any) -> None:
    """Give a command, or each of a group, the option ``--report``."""
    nested = getattr(command, "commands", None)
    if nested:
        for one in nested.values():
            add_report(one)
        return
    command.params.append(_option())


def _option() -> Any:
    """The option as typer makes it of a command that has no other."""
    application = typer.Typer(add_completion=False)

    @application.command()
    def command(
        report: Annotated[
            str | None,
            typer.Option(
                "--report",
                metavar="FILE",
                expose_value=False,
                callback=_keep,
                help="Write what was run, with what and how it ended to this JSON file.",
            ),
        ] = None,
    ) -> None: ...

    return next(one for one in typer.main.get_command(application).params if one.name == "report")


def _keep(context: typer.Context, value: str | None) -> None:
    if value is None:
        return
    if Path(value).is_dir():
        raise OptionError(f"--report is {value!r}, which is a folder; expected a file such as run.json")
    context.meta[_ASKED] = (Path(value), context, time.time())


def write_report(context: Any, code: int, error: str | None) -> None:
    """Write the report that a command was asked for, if it was.

    Parameters
    ----------
    context : typer context
        Of the command or of one above it.
    code : int
        Exit code.
    error : str or None
        Its words, where there was one.
    """
    path, command, start = context.meta.get(_ASKED, (None, None, 0.0))
    if path is None:
        return
    content = {
        "notice": NOTICE,
        "command": command.command_path.partition(context.info_name)[2].strip(),
        "words": context.meta.get(WORDS, []),
        "options": {name: _plain(value) for name, value in command.params.items()},
        "weights": _weights(command.params),
        "started": datetime.fromtimestamp(start, timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(time.time() - start, 2),
        "exit_code": code,
        "error": error,
        "written": _written(command.params.get("out"), start),
        "versions": {**versions(), "lungcls": lungcls.__version__},
        "system": platform.platform(),
    }
    write_json(path, content, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value)


def _weights(options: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 by name of the weights that options name."""
    from lungcls.weights import load_card

    hashes = {}
    for option in _WEIGHTS:
        value = options.get(option)
        for name in [value] if isinstance(value, str) else value or ():
            try:
                card = load_card(name)
            except LungclsError:  # "none", or what was refused: the error says so
                continue
            hashes[card.name] = card.sha256
    return hashes


def _written(out: Any, start: float) -> dict[str, Any]:
    """Files below the folder of the results that are as young as the run: how many, and the first names."""
    folder = Path(str(out)) if out else None
    if folder is None or not folder.is_dir():
        return {"files": 0, "names": []}
    # A file system's clock may be coarser than the machine's.
    names = sorted(
        one.relative_to(folder).as_posix()
        for one in folder.rglob("*")
        if one.is_file() and one.stat().st_mtime >= start - 1
    )
    return {"folder": str(folder), "files": len(names), "names": names[:_MOST_FILES]}
