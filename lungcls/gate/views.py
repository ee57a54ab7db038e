"""Batches for training the quality gate: films as they are, and all that it should refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lungcls.gate.screening import KINDS
from lungcls.regions import View

SHARES = {
    "frontal": 64,
    "rotated_90": 16,
    "rotated_180": 16,
    "rotated_270": 16,
    "inverted": 24,
    "lateral": 12,
    "ct_slice": 12,
    "cut_off": 18,
    "other": 84,
}
"""How many views of each kind a batch has."""

_LEAST_WHOLE, _MOST_CUT = 0.93, 0.62


@dataclass(frozen=True)
class Sources:
    """What batches are made of; uint8 [N, s, s], all of one side s above that of the network.

    Attributes
    ----------
    films : frontal films, upright
    masks : their lung masks, 0 or 1; all 0 where there is none
    weights : float64 [N], how often each film is drawn
    slices : drawings of CT slices
    strangers : pictures that are no X-rays of a chest
    real : how many of the films, the first ones, are real
    """

    films: View
    masks: View
    weights: np.ndarray
    slices: View
    strangers: View
    real: int


class GateBatches:
    """Draws batches whose every chance comes from one generator.

    Parameters
    ----------
    sources : Sources
    size : int
        Side of the network's input, in pixels.
    seed : int
    """

    def __init__(self, sources: Sources, size: int, seed: int) -> None:
        self.size = size
        self._random = torch.Generator().manual_seed(seed)
        self._films = torch.from_numpy(sources.films)
        self._masks = torch.from_numpy(sources.masks)
        self._weights = torch.from_numpy(sources.weights)
        self._slices = torch.from_numpy(sources.slices)
        self._strangers = torch.from_numpy(sources.strangers)
        whole = self._masks.flatten(1).any(1).to(torch.float64)
        self._with_mask = self._weights * whole

    def batch(self, shares: dict[str, int] = SHARES) -> tuple[Tensor, Tensor]:
        """Return uint8 views [B, size, size] and their kinds, int64 [B].

        What a chance made neither whole nor cut is left out, so that B varies.
        """
        views, kinds = [], []
        for kind, count in shares.items():
            if count:
                of_kind = self._make(kind, count)
                views.append(of_kind)
                kinds.append(torch.full((len(of_kind),), KINDS.index(kind)))
        return torch.cat(views), torch.cat(kinds)

    def _make(self, kind: str, count: int) -> Tensor:
        if kind == "other":
            copies = count // 4
            drawn = self._strange(self._strangers, count - copies)
            return torch.cat([drawn, self._spoilt(copies)])
        if kind == "ct_slice":
            return self._strange(self._slices, count, turn=0.2, invert=0.05)
        if kind == "lateral":
            return self._lateral(count)
        return self._film(kind, count)

    def _film(self, kind: str, count: int) -> Tensor:
        cut = kind == "cut_off"
        chosen = self._draw(self._with_mask if cut else self._weights, count)
        films = self._films[chosen].float().div(255)
        masks = self._masks[chosen].float()
        quarter = torch.zeros(count)
        if kind.startswith("rotated"):
            quarter += int(kind.removeprefix("rotated_")) // 90
        elif kind == "inverted":
            quarter = self._integers(4, count) * self._happens(0.25, count)
        if cut:
            scale = self._uniform(0.3, 0.75, (count, 2))
            one_side = self._happens(0.4, count)
            scale[:, 0] = torch.where(one_side, self._uniform(0.4, 0.55, (count,)), scale[:, 0])
            scale[:, 1] = torch.where(one_side, self._uniform(0.8, 1.1, (count,)), scale[:, 1])
            shift = (1 - scale).clamp(min=0) * self._uniform(-1, 1, (count, 2))
            shift[:, 0] = torch.where(one_side, 0.5 * shift[:, 0].sign(), shift[:, 0])
        else:
            # Some films stand in wide black borders, more of them below than above.
            far = self._happens(0.3, count)[:, None]
            scale = torch.where(
                far, self._uniform(1.1, 1.6, (count, 1)), self._uniform(0.88, 1.15, (count, 1))
            )
            scale = scale * self._uniform(0.93, 1.07, (count, 2))
            shift = (scale - 0.85).clamp(min=0.08) * self._uniform(-1, 1, (count, 2))
        angle = self._normal(count) * math.radians(6)
        both = torch.stack([films, masks], 1)
        moved, inside = self._warp(both, scale, shift, angle, quarter, bars=0.6)
        # Which share of the lungs is still in the picture; the areas are in units of the picture.
        area = masks.mean((1, 2))
        left = moved[:, 1].sum((1, 2)) / inside.sum((1, 2)) * scale.prod(1) / area.clamp(min=1e-6)
        keep = (left < _MOST_CUT) if cut else (left > _LEAST_WHOLE) | (area == 0)
        pixels = self._look(self._shuttered(moved[:, 0], 0.0 if cut else 0.4))
        if kind == "inverted":
            pixels = 1 - pixels
        return _bytes(pixels * inside)[keep]

    def _lateral(self, count: int) -> Tensor:
        """Both lungs of a film over each other, with a spine on one side: a drawing of a lateral film."""
        chosen = self._draw(self._with_mask, count)
        films = self._films[chosen].float().div(255)
        half = self._uniform(0.42, 0.55, (count, 1))
        scale = torch.cat([half, self._uniform(0.9, 1.1, (count, 1))], 1)
        middle = self._uniform(0.38, 0.52, (count,))
        sides = []
        for side in (-1, 1):
            shift = torch.stack([side * middle, self._uniform(-0.08, 0.08, (count,))], 1)
            cut, _ = self._warp(films[:, None], scale, shift, self._normal(count) * 0.05, torch.zeros(count))
            sides.append(cut[:, 0] if side < 0 else cut[:, 0].flip(2))
        part = self._uniform(0.3, 0.7, (count, 1, 1))
        picture = part * sides[0] + (1 - part) * sides[1]
        axis = torch.linspace(-1, 1, self.size)
        bend = self._uniform(-0.3, 0.3, (count, 1, 1))
        place = self._uniform(-0.7, -0.2, (count, 1, 1))
        column = axis[None, None, :] - place - bend * axis[None, :, None] ** 2
        width = self._uniform(0.08, 0.2, (count, 1, 1))
        spine = torch.exp(-((column / width) ** 2)) * self._uniform(0.05, 0.3, (count, 1, 1))
        fade = torch.sigmoid((column + self._uniform(0.1, 0.6, (count, 1, 1))) * 12)
        picture = (picture + spine) * torch.where(self._happens(0.7, count)[:, None, None], fade, 1.0)
        flipped = torch.where(self._happens(0.5, count)[:, None, None], picture.flip(2), picture)
        scale = self._uniform(0.85, 1.15, (count, 2))
        zero = torch.zeros(count, 2)
        moved, inside = self._warp(
            flipped[:, None], scale, zero, self._normal(count) * 0.1, torch.zeros(count), bars=0.7
        )
        return _bytes(self._look(moved[:, 0].clamp(0, 1)) * inside)

    def _strange(self, pool: Tensor, count: int, turn: float = 1.0, invert: float = 0.25) -> Tensor:
        pictures = pool[torch.randint(len(pool), (count,), generator=self._random)].float().div(255)
        zoomed = self._happens(0.4, count)[:, None]
        scale = torch.where(zoomed, self._uniform(0.3, 1, (count, 1)), self._uniform(0.95, 1.1, (count, 1)))
        scale = scale * self._uniform(0.85, 1.15, (count, 2))
        shift = (1 - scale).clamp(min=0) * self._uniform(-1, 1, (count, 2))
        turned = self._happens(0.3 * turn, count)
        angle = torch.where(turned, self._uniform(-math.pi, math.pi, (count,)), self._normal(count) * 0.05)
        quarter = self._integers(4, count) * self._happens(turn, count)
        moved, inside = self._warp(pictures[:, None], scale, shift, angle, quarter, bars=0.4)
        pixels = self._look(moved[:, 0])
        inverted = self._happens(invert, count)[:, None, None]
        return _bytes(torch.where(inverted, 1 - pixels, pixels) * inside)

    def _spoilt(self, count: int) -> Tensor:
        """Films of which no chest is left: in tiles, in a collage, as edges, as a mask, far too near."""
        ways: list[Callable[[int], Tensor]] = [
            self._tiles, self._collage, self._edges, self._silhouettes, self._near, self._phases,
        ]  # fmt: skip
        parts = torch.bincount(
            torch.randint(len(ways), (count,), generator=self._random), minlength=len(ways)
        )
        batches = [way(int(n)) for way, n in zip(ways, parts) if n]
        return (
            _bytes(torch.cat(batches)) if batches else torch.empty(0, self.size, self.size, dtype=torch.uint8)
        )

    def _plain(self, count: int) -> Tensor:
        films = self._films[self._draw(self._weights, count)].float().div(255)[:, None]
        return F.interpolate(films, (self.size, self.size), mode="area")[:, 0]

    def _tiles(self, count: int) -> Tensor:
        films, n = self._plain(count), int(self._integers(3, 1)) + 2
        side = self.size // n
        cut = films[:, : side * n, : side * n].unfold(1, side, side).unfold(2, side, side)
        cut = cut.reshape(count, n * n, side, side)[:, torch.randperm(n * n, generator=self._random)]
        joined = cut.reshape(count, n, n, side, side).transpose(2, 3).reshape(count, side * n, side * n)
        return F.interpolate(joined[:, None], (self.size, self.size))[:, 0]

    def _collage(self, count: int) -> Tensor:
        n = int(self._integers(3, 1)) + 2
        films = self._plain(count * n * n).reshape(count, n * n, self.size, self.size)
        rows = torch.cat([torch.cat(list(films[:, i * n : i * n + n].unbind(1)), 2) for i in range(n)], 1)
        return F.interpolate(rows[:, None], (self.size, self.size), mode="area")[:, 0]

    def _edges(self, count: int) -> Tensor:
        films = self._plain(count)
        down = films[:, 1:, :-1] - films[:, :-1, :-1]
        right = films[:, :-1, 1:] - films[:, :-1, :-1]
        strength = F.pad((down.abs() + right.abs()) * self._uniform(2, 8, (count, 1, 1)), (0, 1, 0, 1))
        edges = strength.clamp(0, 1)
        return torch.where(self._happens(0.4, count)[:, None, None], 1 - edges, edges)

    def _silhouettes(self, count: int) -> Tensor:
        masks = self._masks[self._draw(self._with_mask, count)].float()[:, None]
        shown = F.interpolate(masks, (self.size, self.size), mode="area")[:, 0]
        return torch.where(self._happens(0.4, count)[:, None, None], 1 - shown, shown)

    def _near(self, count: int) -> Tensor:
        films = self._films[self._draw(self._weights, count)].float().div(255)
        scale = self._uniform(0.08, 0.25, (count, 1)).expand(-1, 2)
        shift = 0.7 * self._uniform(-1, 1, (count, 2))
        quarter = self._integers(4, count)
        near, _ = self._warp(films[:, None], scale, shift, torch.zeros(count), quarter)
        return self._look(near[:, 0])

    def _phases(self, count: int) -> Tensor:
        """The spectrum of a film with the phases of noise: its texture, without anything in place."""
        films = self._plain(count)
        noise = torch.randn(films.shape, generator=self._random)
        phases = torch.fft.rfft2(noise)
        spectrum = torch.fft.rfft2(films).abs() * phases / phases.abs().clamp(min=1e-6)
        mixed = torch.fft.irfft2(spectrum, films.shape[1:])
        low, high = mixed.amin((1, 2), keepdim=True), mixed.amax((1, 2), keepdim=True)
        spread: Tensor = (mixed - low) / (high - low).clamp(min=1e-6)
        return spread

    def _warp(
        self,
        pictures: Tensor,
        scale: Tensor,
        shift: Tensor,
        angle: Tensor,
        quarter: Tensor,
        bars: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Move pictures [B, C, s, s] into the network's square; returns them and where no bar is, [B, S, S].

        `scale` is the part of the picture that is seen, `shift` its centre in half pictures.
        """
        count = len(pictures)
        axis = (torch.arange(self.size) + 0.5) * 2 / self.size - 1
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        ratio = torch.exp(self._uniform(math.log(0.68), math.log(1.45), (count,)))
        ratio = torch.where(self._happens(bars, count), ratio, 1.0)
        wide, high = ratio.clamp(max=1)[:, None, None], (1 / ratio).clamp(max=1)[:, None, None]
        x, y = x / wide, y / high
        inside = ((x.abs() <= 1) & (y.abs() <= 1)).float()
        # np.rot90 turns the picture against the clock: its sampling coordinates turn with it.
        for _ in range(3):
            turning = (quarter > 0)[:, None, None]
            x, y = torch.where(turning, -y, x), torch.where(turning, x, y)
            quarter = quarter - 1
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        x, y = cos * x + sin * y, cos * y - sin * x
        flip = torch.where(self._happens(0.3, count), -1.0, 1.0)[:, None, None]
        across = flip * x * scale[:, 0, None, None] + shift[:, 0, None, None]
        down = y * scale[:, 1, None, None] + shift[:, 1, None, None]
        padding = "zeros" if self._happens(0.7, 1).item() else "border"
        grid = torch.stack([across, down], -1)
        moved = F.grid_sample(pictures, grid, mode="bilinear", padding_mode=padding, align_corners=False)
        return moved, inside

    def _look(self, pixels: Tensor) -> Tensor:
        """What scanners, windows, copies and labels do to a picture."""
        count = len(pixels)
        one = (count, 1, 1)
        pixels = pixels.clamp(0, 1) ** torch.exp(0.33 * torch.randn(one, generator=self._random))
        contrast = self._uniform(0.45, 1.15, one)
        contrast = torch.where(self._happens(0.6, count)[:, None, None], contrast, 1.0)
        room = (1 - contrast).clamp(min=0)
        pixels = pixels * contrast + room * self._uniform(0, 1, one)
        soft = F.avg_pool2d(F.pad(pixels[:, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[:, 0]
        pixels = torch.lerp(pixels, soft, self._uniform(-0.6, 1, one))
        noise = torch.randn(pixels.shape, generator=self._random)
        pixels = pixels + noise * self._uniform(0, 0.05, one) * self._happens(0.5, count)[:, None, None]
        for _ in range(2):
            x, y = self._uniform(0, self.size, one), self._uniform(0, self.size, one)
            half_x, half_y = self._uniform(0.5, 5, one), self._uniform(0.5, 3, one)
            axis = torch.arange(self.size)
            label = ((axis[None, None, :] - x).abs() < half_x) & ((axis[None, :, None] - y).abs() < half_y)
            label &= self._happens(0.35, count)[:, None, None]
            bright = (self._uniform(0, 1, one) > 0.25).float() * self._uniform(0.7, 1, one)
            pixels = torch.where(label, bright, pixels)
        edge = torch.where(self._happens(0.15, count), self._uniform(0, 5, (count,)), 0.0)[:, None, None]
        axis = torch.minimum(torch.arange(self.size), self.size - 1 - torch.arange(self.size))
        frame = (axis[None, None, :] < edge) | (axis[None, :, None] < edge)
        return torch.where(frame, self._uniform(0, 1, one).round(), pixels).clamp(0, 1)

    def _shuttered(self, pixels: Tensor, often: float) -> Tensor:
        """Films with a straight black edge near the border, as shutters and turned scans leave it."""
        count = len(pixels)
        axis = (torch.arange(self.size) + 0.5) * 2 / self.size - 1
        for _ in range(2):
            side = self._integers(4, count) * (math.pi / 2) + 0.06 * self._normal(count)
            reach = self._uniform(0.72, 1.0, (count, 1, 1))
            along = axis[None, None, :] * side.cos()[:, None, None]
            beyond = along + axis[None, :, None] * side.sin()[:, None, None] > reach
            pixels = pixels * ~(beyond & self._happens(often, count)[:, None, None])
        return pixels

    def _draw(self, weights: Tensor, count: int) -> Tensor:
        return torch.multinomial(weights, count, replacement=True, generator=self._random)

    def _uniform(self, low: float, high: float, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self._random) * (high - low) + low

    def _normal(self, count: int) -> Tensor:
        return torch.randn(count, generator=self._random)

    def _integers(self, below: int, count: int) -> Tensor:
        return torch.randint(below, (count,), generator=self._random).float()

    def _happens(self, probability: float, count: int) -> Tensor:
        return torch.rand(count, generator=self._random) < probability


def _bytes(pixels: Tensor) -> Tensor:
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
