"""Stage 1: find the lungs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cc3d
import numpy as np
import numpy.typing as npt

from lungcls.numeric import sigmoid
from lungcls.regions import Mask, Pixels, View, unletterbox, whole_view

if TYPE_CHECKING:
    from torch import nn

    from lungcls.engines import Network
    from lungcls.weights import Card


class Segmenter:
    """A U-Net and the clean-up after it.

    Parameters
    ----------
    card : Card
    network : Network
        uint8 views [B, S, S] to logits [B, 1, S, S].
    fill_holes : bool, default=True
        Fill holes in the mask.
    keep_parts : int, default=2
        Keep this many of the largest connected parts; 0 keeps all.
    """

    def __init__(
        self,
        card: Card,
        network: Network,
        *,
        fill_holes: bool = True,
        keep_parts: int = 2,
    ) -> None:
        self.card = card
        self.network = network
        self.fill_holes = fill_holes
        self.keep_parts = keep_parts

    def __repr__(self) -> str:
        return (
            f"Segmenter({self.card.name!r}, fill_holes={self.fill_holes}, keep_parts={self.keep_parts}, "
            f"device={self.device!r}, engine={self.network.engine!r})"
        )

    @classmethod
    def load(
        cls,
        weights: str | Path = "segmenter",
        device: str = "auto",
        *,
        engine: str = "auto",
        precision: str = "fp32",
        fill_holes: bool = True,
        keep_parts: int = 2,
    ) -> Segmenter:
        """Load a segmenter from a released name or a path.

        Parameters
        ----------
        weights, device, engine, precision
            As :func:`lungcls.engines.load_network` takes them.
        fill_holes, keep_parts
            As the class takes them.

        Raises
        ------
        WeightsError
            If the weights are missing, damaged or not a segmenter's.
        MissingExtraError
            If the engine is not installed.
        ValueError
            If the engine, the precision or the device is unknown or not available.
        """
        from lungcls.engines import load_network

        card, network = load_network(
            weights, "segmentation", engine=engine, device=device, precision=precision
        )
        return cls(card, network, fill_holes=fill_holes, keep_parts=keep_parts)

    @classmethod
    def of_module(
        cls,
        module: nn.Module,
        *,
        input_size: int = 256,
        threshold: float = 0.5,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        device: str = "auto",
        precision: str = "fp32",
        fill_holes: bool = True,
        keep_parts: int = 2,
    ) -> Segmenter:
        """Make a stage of a torch module of your own.

        Parameters
        ----------
        module : torch.nn.Module
            float32 [B, C, S, S] to logits of lung [B, 1, S, S]. C is what its first convolution takes; the
            grey film is given to each channel.
        input_size : int, default=256
            S, in pixels.
        threshold : float, default=0.5
            A pixel whose probability is above it is lung.
        mean, std : float or one a channel, default=0.5
            It is shown ``(pixel - mean) / std``, pixels in [0, 1].
        device, precision, fill_holes, keep_parts
            As :meth:`load` takes them.

        Raises
        ------
        OptionError
            If the module does not take or give what is stated.
        """
        from lungcls.engines.own_module import wrap_module

        card, network = wrap_module(
            module,
            "segmentation",
            classes=("lung",),
            input_size=input_size,
            mean=mean,
            std=std,
            thresholds={"mask": threshold},
            device=device,
            precision=precision,
        )
        return cls(card, network, fill_holes=fill_holes, keep_parts=keep_parts)

    @property
    def module(self) -> nn.Module:
        """The torch module; ValueError where another engine runs the network."""
        from lungcls.engines import torch_module

        return torch_module(self.network)

    @property
    def device(self) -> str:
        """Where the network runs, such as ``cpu`` or ``cuda:0``."""
        return self.network.device

    def probabilities(self, views: View) -> npt.NDArray[np.float32]:
        """Return the probability of lung for each pixel of each view.

        Parameters
        ----------
        views : uint8 array [B, S, S]
            Letterboxed images; S is the card's ``input_size``.

        Returns
        -------
        float32 array [B, S, S] in [0, 1]
        """
        return sigmoid(self.network(views)[:, 0])

    def segment(self, images: Sequence[Pixels], aspects: Sequence[float] | None = None) -> list[Mask]:
        """Return the lung mask of each image, at its own size.

        Parameters
        ----------
        images : sequence of float32 arrays [H, W] in [0, 1]
            One batch; the sizes may differ.
        aspects : sequence of float, optional
            Height of a pixel over its width in each image; by default 1.

        Returns
        -------
        list of bool arrays [H, W]
            Empty (all False) where no lung was found.
        """
        return [mask for mask, _ in self.segment_with_agreement(images, aspects)]

    def segment_with_agreement(
        self, images: Sequence[Pixels], aspects: Sequence[float] | None = None
    ) -> list[tuple[Mask, float]]:
        """Return the lung mask of each image, and how sure its outline is.

        Parameters
        ----------
        images, aspects
            As :meth:`segment` takes them.

        Returns
        -------
        list of (bool array [H, W], float)
            The agreement is the Dice of the masks that the thresholds 0.3 and 0.7 would give, in [0, 1]: what
            a second run on a slightly changed image would tell, at no cost.
        """
        if not images:
            return []
        size = self.card.input_size
        aspects = aspects or [1.0] * len(images)
        boxed = [whole_view(pixels, size, aspect, self.card.tone) for pixels, aspect in zip(images, aspects)]
        probabilities = self.probabilities(np.stack([view for view, _ in boxed]))
        threshold = self.card.thresholds["mask"]
        masks = []
        for probability, (_, placement), pixels in zip(probabilities, boxed, images):
            # The clean-up works at the network's size, where it costs little; only pixels that it changes are
            # overruled, so that the outline keeps the sub-pixel place that the probabilities give it.
            raw = probability > threshold
            wide, narrow = np.count_nonzero(probability > 0.3), np.count_nonzero(probability > 0.7)
            # The narrow mask lies inside the wide one, so that it is what they share.
            agreement = 2 * narrow / (wide + narrow) if wide else 0.0
            cleaned = clean_up(raw, fill_holes=self.fill_holes, keep_parts=self.keep_parts)
            probability = np.where(cleaned == raw, probability, cleaned.astype(np.float32))
            height, width = pixels.shape
            mask = unletterbox(probability, placement, (height, width)) > threshold
            masks.append((mask, agreement))
        return masks


def clean_up(mask: Mask, *, fill_holes: bool = True, keep_parts: int = 2) -> Mask:
    """Fill holes and keep the largest parts of a mask.

    Parameters
    ----------
    mask : bool array [H, W]
    fill_holes : bool, default=True
    keep_parts : int, default=2
        Number of largest connected parts (by area, edges touching) to keep; 0 keeps all.

    Returns
    -------
    bool array [H, W]
    """
    if fill_holes:
        # A hole is background that does not touch the picture's border, not even by a corner.
        labels, count = cc3d.connected_components(~mask, connectivity=8, return_N=True)
        hole = np.ones(count + 1, np.bool_)
        for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            hole[edge] = False
        mask = mask | hole[labels]
    if keep_parts:
        labels, count = cc3d.connected_components(mask, connectivity=4, return_N=True)
        if count > keep_parts:
            areas = np.bincount(labels.ravel())[1:]
            kept = np.zeros(count + 1, np.bool_)
            kept[np.argsort(areas, kind="stable")[::-1][:keep_parts] + 1] = True
            mask = kept[labels]
    return mask
