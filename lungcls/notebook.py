"""What notebooks show of results: pictures, words, and bars of the class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from lungcls.labels import NOTICE
from lungcls.render.pictures import picture_html

if TYPE_CHECKING:
    from lungcls.lungs import Lungs
    from lungcls.prediction import Prediction

_ROWS: Final = 20


def lungs_html(lungs: Lungs) -> str:
    """Return the film with its lungs and what is wrong with it, as HTML."""
    return picture_html(lungs.overlay(), lungs.path, alt="the film with its lungs", notes=_messages(lungs))


def prediction_html(prediction: Prediction) -> str:
    """Return the film with its lungs, the answer in words and a bar for each class, as HTML."""
    bars = "".join(
        f'<tr><td style="text-align:left">{escape(name)}</td><td style="text-align:left">'
        f'<div style="background:#3f8fbf;height:.8em;width:{value * 12:.2f}em"></div></td>'
        f"<td>{value:.1%}</td></tr>"
        for name, value in prediction.probabilities.items()
    )
    return picture_html(
        prediction.overlay(),
        prediction.path,
        f"<p>{escape(prediction.words())}</p><table>{bars}</table>",
        alt="the film with its lungs",
        notes=_messages(prediction.lungs),
    )


def predictions_html(predictions: Sequence[Prediction]) -> str:
    """Return a row a film with its path and its answer in words, the first 20 of them, as HTML."""
    rows = "".join(
        f'<tr><td style="text-align:left">{escape(one.path)}</td>'
        f'<td style="text-align:left">{escape(one.words())}</td></tr>'
        for one in predictions[:_ROWS]
    )
    more = len(predictions) - _ROWS
    rest = f"<p>... and {more} more</p>" if more > 0 else ""
    return f"<table>{rows}</table>{rest}<p><small>{escape(NOTICE)}</small></p>"


def _messages(lungs: Lungs) -> list[str]:
    return [reason.message for reason in lungs.quality.reasons]
