"""A report as one HTML page beside its pictures and tables."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcls.files import atomic_write
from lungcls.labels import NOTICE

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color:
#222; } table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; } th, td { border: 1px solid #ccc;
padding: .25rem .5rem; text-align: left; } img { max-width: 100%; border: 1px solid #ddd; margin: .25rem 0; }
.wide { overflow-x: auto; }
"""


def write_page(
    path: str | Path,
    title: str,
    notes: Sequence[str],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    pictures: Mapping[str, Sequence[str]],
) -> Path:
    """Write a page.

    Parameters
    ----------
    path : path-like
    title : str
    notes : sequence of str
        Paragraphs at the top.
    tables : mapping of str to rows
        By heading; values are shown as they are.
    pictures : mapping of str to sequence of str
        By heading, files relative to the page.

    Returns
    -------
    Path
    """
    parts = [f"<h1>{html.escape(title)}</h1>", f"<p><b>{html.escape(NOTICE)}</b></p>"]
    parts += [f"<p>{html.escape(note)}</p>" for note in notes]
    for heading, rows in tables.items():
        parts += [f"<h2>{html.escape(heading)}</h2>", _table(rows)]
    for heading, files in pictures.items():
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        for file in files:
            name = html.escape(file, quote=True)
            parts.append(f'<p><a href="{name}"><img src="{name}" alt="{name}"></a></p>')
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    with atomic_write(path, "w") as page:
        page.write(f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n')
    return Path(path)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row.get(name, '')))}</td>" for name in columns) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
