"""The images that a model gets wrong, the surest mistakes first."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from lungcls.render.drawing import new_figure
from lungcls.study.answers import Answers
from lungcls.study.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 6


def misclassified(answers: Answers) -> list[dict[str, Any]]:
    """Return one row a mistake, the surest first.

    Returns
    -------
    list of dict
        ``file``, ``label``, ``predicted``, ``probability`` (of the predicted class) and
        ``probability_of_label``.
    """
    wrong = np.flatnonzero(answers.predicted != answers.labels)
    order = wrong[np.argsort(-answers.probabilities[wrong].max(axis=1), kind="stable")]
    return [
        {
            "file": answers.files[index],
            "label": answers.classes[answers.labels[index]],
            "predicted": answers.classes[answers.predicted[index]],
            "probability": round(float(answers.probabilities[index].max()), 6),
            "probability_of_label": round(float(answers.probabilities[index, answers.labels[index]]), 6),
        }
        for index in order
    ]


def gallery(rows: Sequence[Mapping[str, Any]], study: Study, title: str = "") -> Figure:
    """Draw misclassified images with true class, predicted class and probability.

    Parameters
    ----------
    rows : sequence of mapping
        As :func:`misclassified` gives them; all are drawn.
    study : Study
        Whose films are drawn, upright.
    title : str

    Raises
    ------
    ImageError
        If an image cannot be read.
    MissingExtraError
        If matplotlib is not installed.
    """
    lines = max(1, -(-len(rows) // _COLUMNS))
    figure = new_figure(2.1 * _COLUMNS, 2.75 * lines + 0.4)
    grid = figure.subplots(lines, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, row in zip(grid.flat, rows):
        pixels = study.lungs[row["file"]].pixels()
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1)
        name = textwrap.shorten(PurePosixPath(row["file"]).name, 26, placeholder="…")
        axes.set_title(
            f"{name}\ntrue {row['label']}\nsaid {row['predicted']} {row['probability']:.2f}", fontsize=7
        )
    if not rows:
        figure.text(0.5, 0.5, "no image is misclassified", ha="center", va="center")
    figure.suptitle(title, fontsize=10)
    return figure
