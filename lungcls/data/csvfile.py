"""Reading the tables and lists that datasets come with, as spreadsheets and people write them."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lungcls.errors import DataError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS: Final = "\t;,"
# Signs of no width, which make two names of what a reader sees as one, and the quotes of word processors.
_UNSEEN: Final = {
    **dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF)),
    **dict.fromkeys((0x201C, 0x201D, 0x201E), '"'),
}


def read_text(path: Path, *, strict: bool = True) -> str:
    """Read a text file in UTF-8 or, where its first bytes say so, UTF-16; line ends become ``\\n``.

    Parameters
    ----------
    path : Path
    strict : bool, default=True
        Whether what is no UTF-8 is refused or replaced by a sign for it.

    Raises
    ------
    DataError
        If it cannot be read, or is in another encoding.
    """
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
        text = data.decode(encoding, "strict" if strict else "replace")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not readable as UTF-8 ({error.reason} at byte {error.start}); it is in another "
            "encoding, such as Latin-1: save it as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if "\0" in text:
        raise DataError(
            f"{path}: holds null characters: it is UTF-16 without its mark, or no text; save it as UTF-8"
        )
    return text.translate(_UNSEEN).replace("\r\n", "\n").replace("\r", "\n")


def separator_of(line: str) -> str | None:
    """Return what separates the cells of a line (tab, semicolon or comma), or None for blanks."""
    return next((sign for sign in _SEPARATORS if sign in _unquoted(line)), None)


def _unquoted(line: str) -> str:
    return "".join(line.split('"')[::2])


def cells_of(line: str, separator: str) -> list[str]:
    """Return the cells of one line, without quotes and blanks around them."""
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]


def read_csv(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a table whose cells are text; blanks around names and values are dropped.

    Parameters
    ----------
    path : Path
        Separated by commas, semicolons or tabs, as its first line tells.
    columns : iterable of str
        That it must have; case does not matter, and the rows have them as they are spelled here.

    Raises
    ------
    DataError
        If the file cannot be read, lacks one of `columns`, or has it twice.
    """
    # Hand-made tables mix encodings; what is not UTF-8 stands in names of places and notes.
    text = read_text(path, strict=False)
    wanted = {name.lower(): name for name in columns}
    try:
        separator = separator_of(text.partition("\n")[0]) or ","
        reader = csv.DictReader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        names = [str(name).strip() for name in reader.fieldnames or ()]
        spelled = [wanted.get(name.lower(), name) for name in names]
        twice = sorted({name for name in spelled if name in wanted.values() and spelled.count(name) > 1})
        if twice:
            raise DataError(f"{path}: the column {', '.join(twice)} is there twice; keep one")
        missing = sorted(set(wanted.values()) - set(spelled))
        if missing:
            raise DataError(f"{path}: no column {', '.join(missing)}; the columns are {names}")
        reader.fieldnames = spelled
        # Not every line need have all columns; csv then gives None.
        return [{key: (row.get(key) or "").strip() for key in spelled} for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}: not readable as a CSV file ({error})") from error


def header(path: Path) -> list[str]:
    """Return the column names of a CSV file; an empty list where there are none to read."""
    try:
        line = read_text(path, strict=False).partition("\n")[0]
    except DataError:
        return []
    return cells_of(line, separator_of(line) or ",") if line.strip() else []
