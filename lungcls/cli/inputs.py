"""From what the user typed to the files to work on, and the names of the pictures made of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PICTURES = ("masks", "overlays", "figures", "cams")
"""The folders of pictures below a folder of results."""


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
        Where results go: the pictures that lie there are no inputs, even if the folder is searched.

    Returns
    -------
    list of Input
    """
    from lungcls.errors import ImageError
    from lungcls.images import find_images

    own = [os.path.join(os.path.abspath(out), name, "") for name in PICTURES] if out else []
    found: dict[str, Input] = {}
    folders: dict[str, str] = {}  # the folder that a file's picture is named relative to
    for entry in entries:
        try:
            paths = [str(path) for path in find_images([entry])]
            searched = len(paths) != 1 or paths[0] != str(Path(entry))
            if searched:
                paths = [path for path in paths if not os.path.abspath(path).startswith(tuple(own))]
            if not paths:
                raise ImageError(
                    f"{entry}: found only pictures that lungcls made in {out}, expected X-rays; "
                    "give the folder with the X-rays"
                )
        except ImageError as error:
            found.setdefault(os.path.abspath(entry), Input(entry, problem=str(error)))
            continue
        for path in paths:
            key = os.path.abspath(path)
            found.setdefault(key, Input(path))
            folders.setdefault(key, os.path.abspath(entry) if os.path.isdir(entry) else os.path.dirname(key))
    names = picture_names(list(folders), _common(list(folders.values())))
    pictures = dict(zip(folders, names))
    return [item if item.problem else Input(item.path, pictures[key]) for key, item in found.items()]


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
    from lungcls.images import SUFFIXES

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
