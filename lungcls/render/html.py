"""HTML pages from templates; none loads anything from elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lungcls.files import write_text
from lungcls.labels import NOTICE
from lungcls.render.tables import columns


def write_page(path: str | Path, template: str, **values: Any) -> Path:
    """Write a page.

    Parameters
    ----------
    path : path-like
    template : str
        A file of ``lungcls/render/templates``.
    **values
        What the template shows; text is escaped.

    Returns
    -------
    Path
    """
    environment = Environment(
        loader=PackageLoader("lungcls.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(cell=_cell, columns=columns, anchor=_anchor)
    environment.tests["numeric"] = _is_number
    write_text(path, environment.get_template(template).render(values, notice=NOTICE))
    return Path(path)


def _is_number(value: Any) -> bool:
    # numpy's float64 is a float, too.
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")
