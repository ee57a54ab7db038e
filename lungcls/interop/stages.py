"""The two stages for films as tensors, as other libraries' models take them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from lungcls.cards import Card
from lungcls.export.modules import PipelineModule, StageModule, lung_probability, stage_module
from lungcls.models.build import create_model

Stage = tuple[Card, StageModule]
"""A card and its network."""


class FilmModule(nn.Module):
    """Films to lungs, or through both stages to classes; no gate, no clean-up of the masks.

    Parameters
    ----------
    segmenter : Stage
    classifier : Stage or None, default=None
        None for lungs alone.
    """

    def __init__(self, segmenter: Stage, classifier: Stage | None = None) -> None:
        super().__init__()
        self.card = segmenter[0]
        self.pipeline = None if classifier is None else PipelineModule(*segmenter, *classifier)
        self.segmenter = segmenter[1] if classifier is None else None
        self.eval()

    def forward(self, films: Tensor) -> Tensor:
        """Return the classes of films, or their lungs where there is no classifier.

        Parameters
        ----------
        films : float32 tensor [B, 1, H, W] in [0, 1]
            Grey, bone bright, upright.

        Returns
        -------
        float32 tensor [B, classes], or [B, 1, H, W]
            Probabilities of the classes, by the card's temperature; or of lung, of each pixel.
        """
        pixels = films[:, 0]
        if self.segmenter is not None:
            return lung_probability(self.segmenter, pixels, self.card.input_size, self.card.tone).unsqueeze(1)
        assert self.pipeline is not None
        return self.pipeline.answer(pixels)[1]


def load_stages(segmenter: str | Path, classifier: str | Path | None) -> tuple[Stage, Stage | None]:
    """Load both stages on the CPU, by released name or path; WeightsError where one is missing."""
    first = stage_module(segmenter, "segmentation")
    return first, None if classifier is None else stage_module(classifier, "classification")


def untrained(card: Card) -> Stage:
    """Return the network that a card speaks of, its parameters still to be loaded."""
    return card, StageModule(card, create_model({**card.architecture, "pretrained": "none"})).eval()
