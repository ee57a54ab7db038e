"""Other outlines and other surroundings for the lungs of a batch, drawn anew at each step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Places, in each direction, between which the error of an outline changes smoothly.
_PLACES = 5
_SOFT_EDGE = 0.02


def jittered(lungs: Tensor, reach: float) -> Tensor:
    """Widen and shrink masks at random, differently along their outline.

    A segmenter's masks are never quite right; a classifier that has seen one outline of each film only may
    lean on it.

    Parameters
    ----------
    lungs : float32 tensor [B, 1, S, S] in [0, 1]
    reach : float
        How far an outline moves at most, as a fraction of S.

    Returns
    -------
    float32 tensor [B, 1, S, S] in [0, 1]
        With edges one pixel wide, as those of the views that prediction makes: a classifier sees the
        difference between these and steps.
    """
    radius = _radius(lungs, reach)
    width = 2 * radius + 1
    # The mean over a square crosses a straight edge from 0 to 1 within the reach, so that its threshold says
    # where the edge goes: by as many pixels as the radius has at most.
    level = 0.5 + radius / width * _smooth_noise(lungs)
    return ((_blurred(lungs, radius) - level) * width + 0.5).clamp(0, 1)


def with_other_surroundings(views: Tensor, lungs: Tensor, share: float) -> Tensor:
    """Put the lungs of some films before the surroundings of other films of the batch.

    What a classifier learns of a film's surroundings is then wrong as often as right.

    Parameters
    ----------
    views : float32 tensor [B, 1, S, S] in [0, 255]
    lungs : float32 tensor [B, 1, S, S] in [0, 1]
    share : float
        Of the films that this happens to, on average.

    Returns
    -------
    float32 tensor [B, 1, S, S]

    References
    ----------
    Xiao et al.: Noise or Signal: The Role of Image Backgrounds in Object Recognition, 2021 (mixed-rand).
    """
    count = len(views)
    other = torch.randperm(count, device=views.device)
    outside = 1 - lungs
    # The other film's own lungs go, or theirs would show beside those in front of them.
    grey = (views * outside).sum((2, 3), keepdim=True) / outside.sum((2, 3), keepdim=True).clamp(min=1)
    surroundings = torch.where(lungs > 0.5, grey, views)[other]
    soft = _blurred(lungs, _radius(lungs, _SOFT_EDGE))
    chosen = (torch.rand(count, 1, 1, 1, device=views.device) < share).to(views)
    keep = 1 - chosen * (1 - soft)
    return views * keep + surroundings * (1 - keep)


def _radius(lungs: Tensor, reach: float) -> int:
    return max(1, round(reach * lungs.shape[-1]))


def _blurred(lungs: Tensor, radius: int) -> Tensor:
    return functional.avg_pool2d(lungs, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)


def _smooth_noise(like: Tensor) -> Tensor:
    """Noise in [-1, 1] that changes slowly over a view."""
    coarse = 2 * torch.rand(len(like), 1, _PLACES, _PLACES, device=like.device) - 1
    return functional.interpolate(coarse, like.shape[-2:], mode="bicubic", align_corners=True).clamp(-1, 1)
