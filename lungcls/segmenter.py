"""Stage 1: find the lungs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from skimage import measure, segmentation

from lungcls.regions import Mask, Pixels, View, unletterbox, whole_view

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lungcls.weights import Card


class Segmenter:
    """A U-Net and the clean-up after it.

    Parameters
    ----------
    card : Card
    network : torch.nn.Module
        Ready for inference on `device`.
    device : torch.device
    fill_holes : bool, default=True
        Fill holes in the mask.
    keep_parts : int, default=2
        Keep this many of the largest connected parts; 0 keeps all.
    """

    def __init__(
        self,
        card: Card,
        network: nn.Module,
        device: torch.device,
        *,
        fill_holes: bool = True,
        keep_parts: int = 2,
    ) -> None:
        self.card = card
        self.network = network
        self.device = device
        self.fill_holes = fill_holes
        self.keep_parts = keep_parts

    @classmethod
    def load(
        cls,
        weights: str | Path = "segmenter",
        device: str = "auto",
        *,
        fill_holes: bool = True,
        keep_parts: int = 2,
    ) -> Segmenter:
        """Load a segmenter from a released name or a path.

        Raises
        ------
        WeightsError
            If the weights are missing, damaged or not a segmenter's.
        ValueError
            If the device is not available.
        """
        from lungcls.models.runtime import load_network, resolve_device

        chosen = resolve_device(device)
        card, network = load_network(weights, "segmentation", chosen)
        return cls(card, network, chosen, fill_holes=fill_holes, keep_parts=keep_parts)

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
        from lungcls.models.runtime import run_network

        return run_network(self.network, self.card, views, self.device)[:, 0].sigmoid().numpy()

    def segment(self, images: Sequence[Pixels]) -> list[Mask]:
        """Return the lung mask of each image, at its own size.

        Parameters
        ----------
        images : sequence of float32 arrays [H, W] in [0, 1]
            One batch; the sizes may differ.

        Returns
        -------
        list of bool arrays [H, W]
            Empty (all False) where no lung was found.
        """
        if not images:
            return []
        boxed = [whole_view(pixels, self.card.input_size) for pixels in images]
        probabilities = self.probabilities(np.stack([view for view, _ in boxed]))
        threshold = self.card.thresholds["mask"]
        masks = []
        for probability, (_, placement), pixels in zip(probabilities, boxed, images):
            # The clean-up works at the network's size, where it costs little; only pixels that it changes are
            # overruled, so that the outline keeps the sub-pixel place that the probabilities give it.
            raw = probability > threshold
            cleaned = clean_up(raw, fill_holes=self.fill_holes, keep_parts=self.keep_parts)
            probability = np.where(cleaned == raw, probability, cleaned.astype(np.float32))
            height, width = pixels.shape
            masks.append(unletterbox(probability, placement, (height, width)) > threshold)
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
        # A hole is background that does not touch the picture's border.
        mask = mask | segmentation.clear_border(~mask)
    if keep_parts:
        labels = measure.label(mask, connectivity=1)
        areas = np.bincount(labels.ravel())[1:]
        if areas.size > keep_parts:
            largest = np.argsort(areas, kind="stable")[::-1][:keep_parts] + 1
            mask = np.isin(labels, largest)
    return mask
