"""The findings as one HTML page that needs no other file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcls.render.drawing import figure_url, png_url
from lungcls.render.html import write_page
from lungcls.shortcuts.check import CHECKS, Finding
from lungcls.shortcuts.suite import Examination


def write_findings(path: str | Path, examinations: Sequence[Examination]) -> Path:
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
    names = dict.fromkeys((check.name, check.title) for one in examinations for check in one.checks)
    verdicts = [{check.name: check.verdict for check in one.checks} for one in examinations]
    return write_page(
        path,
        "shortcuts.html",
        title="Does the model look at the lungs?",
        about=examinations[0].payload,
        examinations=examinations,
        summary={title: [of_model.get(name) for of_model in verdicts] for name, title in names},
        plot=_plot,
        picture_url=_picture,
    )


def _plot(finding: Finding) -> str | None:
    check = CHECKS.get(finding.name)
    figure = check.plot(finding.rows) if check else None
    return None if figure is None else figure_url(figure)


def _picture(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return png_url(buffer)
