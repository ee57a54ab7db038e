"""The findings as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from lungcls.files import atomic_write
from lungcls.labels import NOTICE
from lungcls.shortcuts.check import Check
from lungcls.shortcuts.plots import check_plot
from lungcls.shortcuts.suite import Examination

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color:
#222; } table { border-collapse: collapse; font-size: 13px; margin: .5rem 0; }
th, td { border: 1px solid #ccc; padding: .2rem .5rem; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.pass { background: #d8f0dc; } .fail { background: #f8d4d4; } .cannot { background: #eee; }
.verdict { padding: .1rem .5rem; border-radius: .3rem; font-weight: 600; }
figure { display: inline-block; margin: .4rem; vertical-align: top; max-width: 32rem; }
figcaption { font-size: 12px; color: #555; overflow-wrap: anywhere; }
img { max-width: 100%; }
details { margin: .5rem 0; }
"""


def write_page(path: str | Path, examinations: Sequence[Examination]) -> Path:
    """Write the page.

    Parameters
    ----------
    path : path-like
        It will hold parts of X-rays: for the user's own disk, not for publication.
    examinations : sequence of Examination

    Returns
    -------
    Path

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    body = "\n".join(
        ["<h1>Does the model look at the lungs?</h1>", _intro(examinations), _summary(examinations)]
    )
    body += "".join(_model(examination) for examination in examinations)
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>lungcls shortcuts</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )
    with atomic_write(path, "w") as file:
        file.write(page)
    return Path(path)


def _intro(examinations: Sequence[Examination]) -> str:
    first = examinations[0].payload
    text = (
        f"{first['images']} images of {first['dataset']}, part {first['part']}, split {first['split_hash']}; "
        f"{first['left_out']} images were left out (no usable lung mask). Intervals are 95% bootstrap "
        "intervals by group. A figure passes where its whole interval lies on the good side of the limit of "
        "its rule, fails where it lies on the other, and cannot be told otherwise; the rules and their "
        "reasons are in docs/shortcuts.md of lungcls."
    )
    notes = [note for one in examinations for note in one.payload["notes"]]
    lines = [text, f"{NOTICE} This page holds parts of X-rays: keep to the terms of the dataset.", *notes]
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _summary(examinations: Sequence[Examination]) -> str:
    titles = dict.fromkeys((check.name, check.title) for one in examinations for check in one.checks)
    head = "".join(f"<th>{html.escape(one.name)}</th>" for one in examinations)
    lines = []
    for name, title in titles:
        cells = []
        for one in examinations:
            check = next((check for check in one.checks if check.name == name), None)
            cells.append(f"<td>{_verdict(check.verdict) if check else '-'}</td>")
        lines.append(f"<tr><td>{html.escape(title)}</td>{''.join(cells)}</tr>")
    return f"<table><tr><th>check</th>{head}</tr>{''.join(lines)}</table>"


def _model(one: Examination) -> str:
    payload = one.payload
    text = (
        f"Region {payload['region']['name']}, accuracy {payload['accuracy']:.1%} on these images, "
        f"{payload['seconds']} s on {payload['device']}."
    )
    checks = "".join(_check(check) for check in one.checks)
    return f"<h2>{html.escape(one.name)}</h2><p>{html.escape(text)}</p>{checks}"


def _check(check: Check) -> str:
    parts = [
        f"<h3>{html.escape(check.title)} {_verdict(check.verdict)}</h3><p>{html.escape(check.because)}</p>"
    ]
    plot = check_plot(check)
    if plot is not None:
        parts.append(f'<img alt="{html.escape(check.title)}" src="{_data(_png(plot), "png")}">')
    if check.pictures:
        parts.append("<div>")
        for picture in check.pictures:
            buffer = io.BytesIO()
            Image.fromarray(picture.pixels).save(buffer, "PNG")
            caption = html.escape(picture.caption)
            image = f'<img alt="{caption}" src="{_data(buffer.getvalue(), "png")}">'
            parts.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
        parts.append("</div>")
    if check.rows:
        parts.append(f"<details><summary>{len(check.rows)} figures</summary>{_table(check.rows)}</details>")
    return "".join(parts)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    lines = ["<tr>" + "".join(_cell(row.get(column)) for column in columns) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f'<td class="number">{value:.3f}</td>' if math.isfinite(value) else '<td class="number">-</td>'
    if value is None:
        return '<td class="number">-</td>'
    kind = ' class="number"' if isinstance(value, int) else ""
    return f"<td{kind}>{html.escape(str(value))}</td>"


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {verdict.split()[0]}">{html.escape(verdict)}</span>'


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
