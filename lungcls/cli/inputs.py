"""From what the user typed to the files to work on, and the names of the pictures made of them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lungcls.cli.journal import journal_name
from lungcls.errors import ImageError
from lungcls.images import SUFFIXES, find_images

PICTURES = ("masks", "overlays", "figures", "cams")
"""The folders of pictures below a folder of results."""

_EXPORTED = re.compile(r"labels[\\/].+\.png|dicom[\\/].+\.(film|seg|sr|gsps|sc)\.dcm")
"""What `--formats` and `--dicom` write below a folder of results; films may lie in folders of these names."""

TABLES = ("predictions", "segments", "explanations")
"""The names of the tables that the commands write."""


def is_result_folder(folder: str | os.PathLike[str]) -> bool:
    """Whether lungcls wrote its results there, or began to: by its own tables or a journal."""
    for table in TABLES:
        if os.path.exists(os.path.join(folder, journal_name(table))):
            return True
        try:
            with open(os.path.join(folder, f"{table}.json"), encoding="utf-8") as file:
                # Others write files of these names, too.
                if '"lungcls":' in file.read(1000):
                    return True
        except (OSError, ValueError):
            continue
    return False


@dataclass(frozen=True, slots=True)
class Input:
    """One file to work on, or an input that stands for none.

    Attributes
    ----------
    path : str
        As the user's words and the search gave it.
    picture : str
        Name of its mask and overlay below their folders, with forward slashes; no two inputs share one.
    problem : str
        Why there is no such file; empty for files.
    """

    path: str
    picture: str = ""
    problem: str = ""


def collect(entries: Sequence[str], out: Path | None = None) -> list[Input]:
    """List the files that the user's words stand for, each once; a bad word takes only its own place.

    Parameters
    ----------
    entries : sequence of str
        Files, folders and patterns.
    out : Path, optional
        Where results go. The pictures that lie there, or in the results of an earlier run, are no inputs
        where a folder is searched; a file that is named is always one.

    Returns
    -------
    list of Input
    """
    own = _Own(out)
    inputs: dict[str, Input] = {}
    folders: dict[str, str] = {}  # the folder that a file's picture is named relative to
    for entry in entries:
        try:
            paths = [str(path) for path in find_images([entry])]
            searched = len(paths) != 1 or paths[0] != str(Path(entry))
            if searched:
                paths = [path for path in paths if not own.holds(path)]
            if not paths:
                raise ImageError(
                    f"{entry}: found only pictures that lungcls made, expected X-rays; give the folder with "
                    "the X-rays"
                )
        except ImageError as error:
            inputs.setdefault(os.path.abspath(entry), Input(entry, problem=str(error)))
            continue
        for path in paths:
            key = os.path.abspath(path)
            inputs.setdefault(key, Input(path))
            folders.setdefault(key, os.path.abspath(entry) if os.path.isdir(entry) else os.path.dirname(key))
    names = picture_names(list(folders), _common(list(folders.values())))
    pictures = dict(zip(folders, names))
    return [item if item.problem else Input(item.path, pictures[key]) for key, item in inputs.items()]


class _Own:
    """The pictures that lungcls made: those below `out`, and those beside tables of an earlier run."""

    def __init__(self, out: Path | None) -> None:
        self._results: dict[str, bool] = {os.path.abspath(out): True} if out else {}

    def holds(self, path: str) -> bool:
        whole = os.path.abspath(path)
        folder, name = os.path.split(os.path.dirname(whole))
        while name:
            if name in PICTURES and self._is_result(folder):
                return True
            if _EXPORTED.fullmatch(os.path.relpath(whole, folder)) and is_result_folder(folder):
                return True
            folder, name = os.path.split(folder)
        return False

    def _is_result(self, folder: str) -> bool:
        if folder not in self._results:
            self._results[folder] = is_result_folder(folder)
        return self._results[folder]


def picture_names(paths: Sequence[str], root: str) -> list[str]:
    """Name the picture of each file: its path below `root` with the suffix .png, and no name twice.

    Parameters
    ----------
    paths : sequence of str
        Absolute and distinct.
    root : str
        A folder above all of them, or empty if there is none.

    Returns
    -------
    list of str
        With forward slashes. Files that differ only in their suffix keep it: ``a.jpg.png`` and ``a.dcm.png``.
    """
    below = [PurePosixPath(_below(path, root)) for path in paths]
    short = [
        path.with_suffix(".png") if path.suffix.lower() in SUFFIXES else _with_png(path) for path in below
    ]
    # Names that differ only in case are one name on Windows and macOS.
    uses = Counter(str(path).casefold() for path in short)
    names = [
        _with_png(path) if uses[str(wished).casefold()] > 1 else wished for path, wished in zip(below, short)
    ]
    taken: set[str] = set()
    result = []
    for name in names:
        free, number = name, 2
        while str(free).casefold() in taken:
            free = name.with_name(f"{name.stem}-{number}.png")
            number += 1
        taken.add(str(free).casefold())
        result.append(str(free))
    return result


def _with_png(path: PurePosixPath) -> PurePosixPath:
    return path.with_name(f"{path.name}.png")


def _common(folders: list[str]) -> str:
    try:
        return os.path.commonpath(folders)
    except ValueError:  # none at all, or on several drives
        return ""


def _below(path: str, root: str) -> str:
    if root:
        return Path(os.path.relpath(path, root)).as_posix()
    drive, rest = os.path.splitdrive(path)
    return f"{drive.strip(':')}{Path(rest).as_posix()}".lstrip("/")
