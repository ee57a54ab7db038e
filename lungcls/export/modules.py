"""What is exported, as torch modules: one stage, and the whole pipeline in tensors alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lungcls.models.runtime import load_network
from lungcls.quality import MIN_AREA
from lungcls.regions import Region
from lungcls.tone import EXTREMES, FLAT, PLACED
from lungcls.weights import Card

MAX_WIDTH = 1024
"""Widest image for which the mask of the whole-pipeline graph is dilated as a region asks."""
_HALF = 1e-4  # grey levels from a half within which a sum counts as one; sums are good to 2e-5


class StageModule(nn.Module):
    """One network with its normalisation: uint8 views [B, S, S] to logits.

    Parameters
    ----------
    card : Card
    network : torch.nn.Module
    """

    def __init__(self, card: Card, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = float(card.mean), float(card.std)

    def forward(self, views: Tensor) -> Tensor:
        """Return the logits."""
        scaled = views.unsqueeze(1).to(torch.float32).div(255.0).sub(self.mean).div(self.std)
        logits: Tensor = self.network(scaled)
        return logits


def stage_module(weights: str | Path, task: str) -> tuple[Card, StageModule]:
    """Load a stage on the CPU, ready for export; parameters and errors as ``load_network``."""
    card, network = load_network(weights, task, torch.device("cpu"))
    # Channels last is for torch's own convolutions; an exported graph would carry it along as transposes.
    return card, StageModule(card, network.to(memory_format=torch.contiguous_format)).eval()


class PipelineModule(nn.Module):
    """Both stages and all between them, in tensors alone.

    It does what :class:`lungcls.Pipeline` does with ``fill_holes=False, keep_parts=0, gate=None`` and one
    batch of images of one size, with square pixels, but for one thing: the whole image stands in where the
    mask covers less than 3% of it, not where only one lung was found.

    Resizing is two products with matrices that hold Pillow's triangle filter, whose entries depend on the box
    alone; so the crop follows the mask without leaving the graph.

    Parameters
    ----------
    segmenter, classifier : StageModule
    segmenter_card, classifier_card : Card
    """

    def __init__(
        self,
        segmenter_card: Card,
        segmenter: StageModule,
        classifier_card: Card,
        classifier: StageModule,
    ) -> None:
        super().__init__()
        self.segmenter, self.classifier = segmenter, classifier
        self.first, self.second = segmenter_card.input_size, classifier_card.input_size
        self.tones = segmenter_card.tone, classifier_card.tone
        self.threshold = float(segmenter_card.thresholds["mask"])
        self.temperature = float(classifier_card.temperature)
        self.multilabel = classifier_card.multilabel
        if self.multilabel:
            scaling = [classifier_card.platt.get(name, (1.0, 0.0)) for name in classifier_card.classes]
            self.register_buffer("platt", torch.tensor(scaling), persistent=False)
        self.region = Region(**(classifier_card.region or {}))
        self.reach = int(self.region.dilate * MAX_WIDTH)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the lungs and classify them.

        Parameters
        ----------
        images : uint8 tensor [B, H, W]

        Returns
        -------
        mask : bool tensor [B, H, W]
        probabilities : float32 tensor [B, classes]
        box : int64 tensor [B, 4]
            (x0, y0, x1, y1) of the mask, end exclusive; the whole image where the mask is too small to use.
        """
        return self.answer(images.to(torch.float32) / 255.0)

    def answer(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Do what :meth:`forward` does with grey levels as float32 tensor [B, H, W] in [0, 1]."""
        whole = _whole_box(pixels)
        mask = lung_probability(self.segmenter, pixels, self.first, self.tones[0]) > self.threshold
        usable = mask.to(torch.float32).mean((1, 2)) >= MIN_AREA
        shown, seen = self._cut(toned(pixels, self.tones[1]), mask, usable, whole)
        logits = self.classifier(_fit(shown, seen, self.second))
        box = torch.where(usable[:, None], _box(mask), whole)
        return mask, self._probabilities(logits), box.to(torch.int64)

    def _probabilities(self, logits: Tensor) -> Tensor:
        if self.multilabel:
            platt = self.get_buffer("platt")
            return torch.sigmoid(logits * platt[:, 0] + platt[:, 1])
        return torch.softmax(logits / self.temperature, 1)

    def _cut(self, pixels: Tensor, mask: Tensor, usable: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """What the region shows of each image, and in which box."""
        if not self.region.needs_mask:
            return pixels, whole
        if self.reach:
            mask = _dilate(mask, self.region.dilate, self.reach)
        box = _box(mask)
        extra = torch.round(self.region.margin * torch.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]))
        x0, y0 = (box[:, :2] - extra[:, None]).clamp(min=0).unbind(1)
        x1, y1 = torch.minimum(box[:, 2:] + extra[:, None], whole[:, 2:]).unbind(1)
        box = torch.stack([x0, y0, x1, y1], 1)
        shown = self.region.kind.cut(pixels, mask, _inside(box, pixels))
        return (
            torch.where(usable[:, None, None], shown, pixels),
            torch.where(usable[:, None], box, whole) if self.region.kind.crops else whole,
        )


def lung_probability(segmenter: StageModule, pixels: Tensor, size: int, name: str) -> Tensor:
    """Return the probability of lung of each pixel of films of one size.

    Parameters
    ----------
    segmenter : StageModule
    pixels : float32 tensor [B, H, W] in [0, 1]
    size : int
        The card's ``input_size``.
    name : str
        The card's ``tone``.

    Returns
    -------
    float32 tensor [B, H, W] in [0, 1]
    """
    logits = segmenter(_fit(toned(pixels, name), _whole_box(pixels), size))[:, 0]
    return _unfit(torch.sigmoid(logits), pixels)


def toned(pixels: Tensor, name: str) -> Tensor:
    """Give films of one size the tone that a network was trained on, as :func:`lungcls.tone.apply` does.

    Parameters
    ----------
    pixels : float32 tensor [B, H, W] in [0, 1]
    name : str
        One of :data:`lungcls.tone.TONES`.

    Returns
    -------
    float32 tensor [B, H, W] in [0, 1]
    """
    height, width = pixels.shape[1], pixels.shape[2]
    step = torch.sym_max(1, torch.sym_min(height, width) // 256)
    rows, columns = (torch.arange(0, side, step, device=pixels.device) for side in (height, width))
    ranked = pixels.index_select(1, rows).index_select(2, columns).flatten(1).sort(1).values
    places = (torch.ones_like(ranked[0], dtype=torch.float64).sum() - 1) * torch.tensor(
        [share / 100 for share in EXTREMES], dtype=torch.float64, device=pixels.device
    )
    below, above = (
        ranked.index_select(1, place.to(torch.int64)) for place in (places.floor(), places.ceil())
    )
    between = (places - places.floor()).to(torch.float32)
    low, high = (below + (above - below) * between).unbind(1)
    spread = high - low
    placed = (spread > 0) & (spread < FLAT) if name == "range" else spread > 0
    scale = (PLACED[1] - PLACED[0]) / torch.where(placed, spread, torch.ones_like(spread))
    levelled = ((pixels - low[:, None, None]) * scale[:, None, None] + PLACED[0]).clamp(0, 1)
    return torch.where(placed[:, None, None], levelled, pixels)


def _whole_box(pixels: Tensor) -> Tensor:
    """(0, 0, W, H) of each image, as floats."""
    columns, rows = torch.ones_like(pixels[:, 0, :]), torch.ones_like(pixels[:, :, 0])
    width, height = columns.sum(1), rows.sum(1)
    return torch.stack([torch.zeros_like(width), torch.zeros_like(width), width, height], 1)


def _box(mask: Tensor) -> Tensor:
    """The bounding box of each mask, as floats; where a mask is empty it means nothing."""
    sides = []
    for axis in (1, 2):
        filled = mask.any(axis).to(torch.float32)
        order = _count(filled)
        size = order[-1] + 1
        sides.append(torch.where(filled > 0, order, size).amin(1))
        sides.append(torch.where(filled > 0, order + 1, torch.zeros_like(order)).amax(1))
    x0, x1, y0, y1 = sides
    return torch.stack([x0, y0, x1, y1], 1)


def _count(values: Tensor) -> Tensor:
    """0, 1, 2, ... as floats, as many as the last axis of `values` is long."""
    return torch.arange(values.shape[-1], device=values.device).to(torch.float32)


def _inside(box: Tensor, pixels: Tensor) -> Tensor:
    """Whether each pixel [B, H, W] is inside of its image's box."""
    columns, rows = _count(pixels[0, 0]), _count(pixels[0, :, 0])
    across = (columns >= box[:, 0:1]) & (columns < box[:, 2:3])
    down = (rows >= box[:, 1:2]) & (rows < box[:, 3:4])
    return down[:, :, None] & across[:, None, :]


def _placement(box: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Start and length [B, 2] (x, y) of what a box fills of the square, as ``lungcls.regions.place`` says."""
    lengths = box[:, 2:] - box[:, :2]
    filled = torch.round(lengths * (size / lengths.amax(1, keepdim=True))).clamp(min=1)
    return torch.floor((size - filled) / 2), filled


def _filter(start: Tensor, length: Tensor, out_start: Tensor, out_length: Tensor, *axes: Tensor) -> Tensor:
    """Matrices [B, out, in] that resize `length` pixels from `start` to `out_length` from `out_start`.

    Pillow's bilinear filter: a triangle that grows with the reduction.
    """
    outer, inner = (axis.to(torch.float64) for axis in axes)
    start, length, out_start, out_length = (
        value[:, None, None].to(torch.float64) for value in (start, length, out_start, out_length)
    )
    scale = length / out_length
    place = outer[None, :, None] - out_start
    source = inner[None, None, :]
    centre = start + (place + 0.5) * scale
    weights = torch.relu(1 - (source + 0.5 - centre).abs() / scale.clamp(min=1))
    there = (place >= 0) & (place < out_length) & (source >= start) & (source < start + length)
    weights = weights * there.to(torch.float64)
    return weights / weights.sum(2, keepdim=True).clamp(min=1e-6)


def _fit(pixels: Tensor, box: Tensor, size: int) -> Tensor:
    """The box of each image as a uint8 view [B, size, size], as ``lungcls.regions.letterbox`` makes it."""
    start, filled = _placement(box, size)
    square = torch.arange(size, device=pixels.device).to(torch.float32)
    lengths = box[:, 2:] - box[:, :2]
    columns, rows = _count(pixels[0, 0]), _count(pixels[0, :, 0])
    across = _filter(box[:, 0], lengths[:, 0], start[:, 0], filled[:, 0], square, columns)
    down = _filter(box[:, 1], lengths[:, 1], start[:, 1], filled[:, 1], square, rows)
    levels = _resized(pixels, across, down).clamp(0, 1) * 255
    # Many sums end in a half. Their last bit, which would decide the rounding, differs between engines.
    half = torch.floor(levels) + 0.5
    return torch.round(torch.where((levels - half).abs() < _HALF, half, levels)).to(torch.uint8)


def _unfit(values: Tensor, pixels: Tensor) -> Tensor:
    """A network's output [B, S, S] back at the images' size, as ``lungcls.regions.unletterbox`` makes it."""
    box = _whole_box(pixels)
    start, filled = _placement(box, values.shape[1])
    square = _count(values[0])
    columns, rows = _count(pixels[0, 0]), _count(pixels[0, :, 0])
    nothing = torch.zeros_like(box[:, 0])
    across = _filter(start[:, 0], filled[:, 0], nothing, box[:, 2], columns, square)
    down = _filter(start[:, 1], filled[:, 1], nothing, box[:, 3], rows, square)
    return _resized(values, across, down)


def _resized(values: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Rows first, sums in 64 bits and results in 32, as Pillow does: else halves round to either side."""
    rows = (values.to(torch.float64) @ across.transpose(1, 2)).to(torch.float32)
    return (down @ rows.to(torch.float64)).to(torch.float32)


def _dilate(mask: Tensor, fraction: float, reach: int) -> Tensor:
    """Widen each mask by a fraction of the width, at most `reach` pixels, with a round element."""
    # In 64 bits, as lungcls.regions compares: in 32, 1% of 300 pixels is less than 3.
    steps = torch.arange(-reach, reach + 1, device=mask.device).to(torch.float64)
    radius = fraction * torch.ones_like(mask[0, 0], dtype=torch.float64).sum()
    disc = (steps[:, None] ** 2 + steps[None, :] ** 2).sqrt() <= radius
    lungs = mask.to(torch.float32).unsqueeze(1)
    return nn.functional.conv2d(lungs, disc.to(torch.float32)[None, None], padding=reach)[:, 0] > 0.5
