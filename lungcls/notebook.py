"""What notebooks show of results: the film with its lungs, and bars of the class probabilities."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Final

from lungcls.labels import NOTICE

if TYPE_CHECKING:
    from lungcls.lungs import Lungs
    from lungcls.prediction import Prediction

_SIDE: Final = 320


def lungs_html(lungs: Lungs) -> str:
    """Return the film with its lungs and what is wrong with it, as HTML."""
    return _card(lungs, f"<p><b>{escape(lungs.path)}</b></p>")


def prediction_html(prediction: Prediction) -> str:
    """Return the film with its lungs, the answer in words and a bar for each class, as HTML."""
    bars = "".join(
        f'<tr><td style="text-align:left">{escape(name)}</td><td style="text-align:left">'
        f'<div style="background:#3f8fbf;height:.8em;width:{value * 12:.2f}em"></div></td>'
        f"<td>{value:.1%}</td></tr>"
        for name, value in prediction.probabilities.items()
    )
    words = f"<p><b>{escape(prediction.path)}</b></p><p>{escape(prediction.words())}</p>"
    return _card(prediction.lungs, f"{words}<table>{bars}</table>")


def _card(lungs: Lungs, body: str) -> str:
    reasons = "".join(f"<li>{escape(reason.message)}</li>" for reason in lungs.quality.reasons)
    return (
        '<div style="display:flex;gap:1em;flex-wrap:wrap;align-items:flex-start">'
        f'<img alt="the film with its lungs" src="data:image/png;base64,{_picture(lungs)}">'
        f'<div style="max-width:36em">{body}<ul>{reasons}</ul>'
        f"<p><small>{escape(NOTICE)}</small></p></div></div>"
    )


def _picture(lungs: Lungs) -> str:
    picture = lungs.overlay()
    picture.thumbnail((_SIDE, _SIDE))
    target = io.BytesIO()
    picture.save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode()
