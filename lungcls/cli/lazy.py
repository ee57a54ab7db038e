"""Commands that are imported when they are called, and what becomes of their errors."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn, cast

import typer
from typer.core import TyperCommand, TyperGroup

from lungcls.cli.renamed import current_words
from lungcls.cli.run_report import WORDS, add_report, write_report
from lungcls.errors import LungclsError

_USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__base__)
_TERMINAL_ERROR = cast("type[Exception]", _USAGE_ERROR.__base__)
# The disk and the machine: what was asked for was right, and the same command may succeed tomorrow.
_NO_WRONG_USE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class LazyCommand(TyperCommand):
    """A command, or a group of them, whose module is imported when it is called.

    Parameters
    ----------
    name : str
    target : str
        ``module:attribute``, below ``lungcls``, of the function, or of the typer application of a group.
    help : str
        Its line in the list of commands.
    panel : str, optional
        Title under which the list shows it.
    extra : str, optional
        The extra of ``pip install 'lungcls[EXTRA]'`` that it needs.
    """

    def __init__(
        self, name: str, target: str, help: str, panel: str | None = None, extra: str | None = None
    ) -> None:
        super().__init__(name, help=help, rich_help_panel=panel)
        self.target = target
        self.extra = extra

    def load(self) -> Any:
        """Import the command itself."""
        module, attribute = self.target.split(":")
        value = getattr(import_module(f"lungcls.{module}"), attribute)
        if not isinstance(value, typer.Typer):
            single = typer.Typer(add_completion=False)
            single.command(self.name)(value)
            value = single
        command = typer.main.get_command(value)
        add_report(command)
        _show_brackets(command)
        return command

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Hand over to the command itself."""
        try:
            command = self.load()
        except ModuleNotFoundError as error:
            self.refuse_without(error)
        if parent is not None:
            parent.meta[WORDS] = [info_name, *args]
        return command.make_context(info_name, current_words(command, args), parent=parent, **extra)

    def refuse_without(self, error: ModuleNotFoundError) -> NoReturn:
        """Turn a missing package into a LungclsError that names what installs it."""
        if error.name is None or error.name.partition(".")[0] == "lungcls":
            raise error
        package = f"lungcls[{self.extra}]" if self.extra else "lungcls"
        raise LungclsError(
            f"`lungcls {self.name}` needs the package {error.name!r}, which is not installed; install it "
            f"with: pip install '{package}'"
        ) from error


class Commands(TyperGroup):
    """A group whose errors become one line on stderr: exit code 2 for wrong use, 1 where the machine failed.

    Errors that are none of these are bugs, and keep their traceback.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the help where no command is named."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named, and write its report where one was asked for."""
        if ctx.parent is not None:
            return self._invoke(ctx)
        try:
            value = self._invoke(ctx)
        except typer.Exit as error:
            write_report(ctx, error.exit_code, None)
            raise
        except BaseException as error:
            code, words = _outcome(error)
            write_report(ctx, code, words or repr(error))
            if isinstance(error, KeyboardInterrupt):
                _stop("interrupted", code)
            raise
        write_report(ctx, value if isinstance(value, int) else 0, None)
        return value

    def _invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            command = self.commands.get(ctx.invoked_subcommand or "")
            if isinstance(command, LazyCommand):
                command.refuse_without(error)
            raise

    def main(self, args: Sequence[str] | None = None, *settings: Any, **extra: Any) -> NoReturn:
        """Run, and leave with an exit code."""
        try:
            code = super().main(args, *settings, **{**extra, "standalone_mode": False})
        except (_TERMINAL_ERROR, typer.Abort, LungclsError, OSError) as error:
            outcome, words = _outcome(error)
            if words is None:
                raise
            _stop(words, outcome)
        sys.exit(code if isinstance(code, int) else 0)


def _outcome(error: BaseException) -> tuple[int, str | None]:
    """Exit code and words of what ended a command; no words for a bug, which keeps its traceback."""
    if isinstance(error, (typer.Abort, KeyboardInterrupt)):
        return 130, "interrupted"
    if isinstance(error, _TERMINAL_ERROR):
        return 2, _usage(error)
    if isinstance(error, LungclsError):
        return 2, str(error)
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{error.filename}: " if error.filename else ""
        return 1 if error.errno in _NO_WRONG_USE else 2, f"{place}{error.strerror}"
    return 1, None


def _usage(error: Any) -> str:
    """One line for wrong words, with the command whose help says more."""
    words = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    return f"{words} Try `{context.command_path} --help`." if context is not None else words


def _stop(message: str, code: int) -> NoReturn:
    line = re.sub(r"\s*\n\s*", " - ", message.strip())
    typer.echo(f"lungcls: {line}", err=True)
    sys.exit(code)


def _show_brackets(command: Any) -> None:
    """Keep rich from reading ``[classes]`` in a help text as one of its own marks."""
    from rich.markup import escape

    for owner in (command, *command.params):
        if owner.help:
            owner.help = escape(owner.help)
    for nested in getattr(command, "commands", {}).values():
        _show_brackets(nested)
