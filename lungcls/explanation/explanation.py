"""What an explanation holds, and its pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from lungcls.explanation.figure import draw_figure, heat
from lungcls.explanation.frame import Frame, Grid
from lungcls.prediction import Prediction
from lungcls.regions import Pixels, stretch
from lungcls.render.pictures import picture_html

if TYPE_CHECKING:
    from PIL import Image as PILImage


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Where an image holds what speaks for a class, in the eyes of a network.

    Attributes
    ----------
    prediction : Prediction
        What was explained; also where its label was withheld or the whole image stood in for the region.
    classifier : str
        Name of the weights that were asked; of an ensemble, the first member's.
    method : str
        One of :data:`lungcls.explanation.METHODS`.
    target : str
        The class that the map speaks for.
    layer : str or None
        The submodule that was asked for; None for the last feature map, or a method without one.
    grid : float32 array [h, w]
        The map at its own resolution, over the square view; nowhere negative, of no particular scale.
    frame : Frame
        Where the view lies on the image.
    shares : dict of str to float
        Where the map lies, beside chance and the limits of its resolution; see
        :func:`lungcls.explanation.attention_shares`.
    """

    prediction: Prediction
    classifier: str
    method: str
    target: str
    layer: str | None
    grid: Grid
    frame: Frame
    shares: dict[str, float]

    def __repr__(self) -> str:
        place = "empty" if self.peak is None else "highest at ({:.0f}, {:.0f})".format(*self.peak)
        what = f"{self.method} of {self.classifier} for {self.target}"
        return f"Explanation({self.prediction.path!r}, {what}, {place})"

    def _repr_html_(self) -> str:
        where = f"What speaks for {self.target} in the eyes of {self.classifier}, by {self.method}"
        words = f"<p>{escape(where)}</p><p>{escape(self.prediction.words())}</p>"
        return picture_html(self.overlay(), self.prediction.path, words, alt="the map over the film")

    @property
    def cam(self) -> Pixels:
        """The map on the image: float32 [H, W] in [0, 1], its highest value 1 unless it is 0 everywhere.

        Made anew at each call, so that a long list of explanations stays small.
        """
        values = self.frame.to_image(self.grid)
        highest = values.max()
        return values / highest if highest > 0 else values

    @property
    def empty(self) -> bool:
        """Whether the map is 0 everywhere: nothing in what the network saw speaks for the class."""
        return not self.grid.max() > 0

    @property
    def peak(self) -> tuple[float, float] | None:
        """Where the map is highest, (x, y) in original pixels; see :meth:`lungcls.explanation.Frame.peak`."""
        return self.frame.peak(self.grid)

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction's values and, besides, the explanation's, all JSON-safe and without arrays.

        Shares that are undefined are None.
        """
        peak = self.peak
        return {
            **self.prediction.to_dict(),
            "explained": self.classifier,
            "method": self.method,
            "target": self.target,
            "layer": self.layer,
            "resolution": list(self.grid.shape),
            "seen": list(self.frame.box),
            "peak": list(peak) if peak else None,
            "empty": self.empty,
            "shares": {name: None if math.isnan(value) else value for name, value in self.shares.items()},
        }

    def overlay(self) -> PILImage.Image:
        """Draw the map over the image.

        Returns
        -------
        PIL.Image.Image
            RGB, of the image's own size; the hotter, the less of the image shows through.

        Raises
        ------
        ImageError
            If the image was a file that is gone or has changed.
        """
        return heat(stretch(self.prediction.pixels()), self.cam)

    def figure(self, panels: int = 2) -> PILImage.Image:
        """Draw a figure with titles, the shares and the notice that this is for research.

        Parameters
        ----------
        panels : {2, 4}, default=2
            Image and map, or image, lungs, what the network saw and map.

        Returns
        -------
        PIL.Image.Image
            RGB; panels of 440 pixels, whatever the size of the image.

        Raises
        ------
        ImageError
            If the image was a file that is gone or has changed.
        ValueError
            If `panels` is neither 2 nor 4.
        """
        return draw_figure(self, panels)
