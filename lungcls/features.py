"""Embeddings: what a classifier makes of a film before its head, for clustering, retrieval and probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lungcls.classifier import Classifier
from lungcls.errors import OptionError
from lungcls.lungs import Lungs
from lungcls.quality import Quality
from lungcls.regions import View

if TYPE_CHECKING:
    from torch import Tensor, nn

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Features:
    """The embedding of one film.

    Attributes
    ----------
    path : str
        Of the film, or what it was, such as ``<array>``.
    vector : float32 array [D]
        The input of the network's head: 1,024 values of a DenseNet121, the means of the last feature map.
    fallback : bool
        Whether the whole film stood in for the region, for want of two lungs.
    quality : Quality
        What is wrong with the film and its mask.
    """

    path: str
    vector: Floats32
    fallback: bool
    quality: Quality


def film_features(classifier: Classifier, lungs: Sequence[Lungs]) -> list[Features]:
    """Return the embeddings of films whose lungs were found, one batch.

    Parameters
    ----------
    classifier : Classifier
        Its region says what is embedded: the lungs (``mask``), the box around them (``crop``) or the film
        (``full``).
    lungs : sequence of Lungs

    Raises
    ------
    OptionError
        If another engine than torch runs the network.
    """
    card, region = classifier.card, classifier.region
    vectors = view_features(
        classifier, np.stack([one.view(region, card.input_size, card.tone) for one in lungs])
    )
    return [
        Features(one.path, vector, one.region(region) != region, one.quality)
        for one, vector in zip(lungs, vectors)
    ]


def view_features(classifier: Classifier, views: View) -> Floats32:
    """Return the input of a classifier's head, float32 [B, D], of views uint8 [B, S, S].

    Raises
    ------
    OptionError
        If another engine than torch runs the network, or it is an exported program: their graphs end in
        logits alone.
    """
    from lungcls.models.layers import head

    _check_engine(classifier)
    seen: list[Tensor] = []

    def note(layer: nn.Module, inputs: Any) -> None:
        seen.append(inputs[0].detach().float().cpu())

    handle = head(classifier.module)[0].register_forward_pre_hook(note)
    try:
        classifier.logits(views)
    finally:
        handle.remove()
    (values,) = seen
    vectors: Floats32 = (values.mean((2, 3)) if values.ndim == 4 else values.flatten(1)).numpy()
    return vectors


def _check_engine(classifier: Classifier) -> None:
    network: Any = classifier.network
    if network.engine != "torch" or getattr(network, "takes_views", False):
        raise OptionError(
            f"{classifier.card.name}: features need the layers, which files of `lungcls export` and the "
            f"engine {network.engine} do not show; give the .safetensors weights and engine='torch'"
        )
