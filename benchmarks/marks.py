"""Tables in documents: each stands between two marks, and a script writes it there anew."""

from __future__ import annotations

import re


def between_marks(text: str, name: str, table: str) -> str:
    """Put a table into a document, between ``<!-- name: written by ... -->`` and ``<!-- end of name -->``.

    Parameters
    ----------
    text : str
        Of the document.
    name : str
        Of the table.
    table : str

    Returns
    -------
    str
        The document's text with what stood between the marks replaced.

    Raises
    ------
    ValueError
        If the document has no such marks: nothing would show that the table is missing.
    """
    marks = re.compile(
        rf"(<!-- {re.escape(name)}: [^>]*-->\n).*?(<!-- end of {re.escape(name)} -->)", re.DOTALL
    )
    changed, count = marks.subn(lambda found: f"{found[1]}{table}\n{found[2]}", text)
    if not count:
        raise ValueError(
            f"the document has no marks for the table {name!r}; put the lines `<!-- {name}: -->` and "
            f"`<!-- end of {name} -->` where it shall stand"
        )
    return changed
