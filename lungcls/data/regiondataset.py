"""Regions of films with their labels, for a training loop of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.utils.data

from lungcls.data.dataset import Dataset
from lungcls.data.views import drawn_lungs, find_lungs
from lungcls.errors import DataError, OptionError
from lungcls.finder import Finder
from lungcls.progress import Progress, quiet
from lungcls.regions import Region


class RegionDataset(torch.utils.data.Dataset[tuple[Any, int]]):
    """What stage 2 sees of each film, cut as prediction cuts it, for ``torch.utils.data.DataLoader``.

    Parameters
    ----------
    dataset : Dataset
        With classes; ``dataset.only(records)`` is the dataset of a part of a split.
    region : str or Region, default="mask"
        What is kept of each film (:data:`lungcls.REGIONS`).
    size : int, default=224
        S, the side of the views in pixels.
    masks : str, path-like, Finder or None, default="segmenter"
        Where the lungs come from: weights of stage 1 by name or path, a loaded finder, or None for the
        dataset's own masks. The region ``full`` finds no lungs.
    transform : callable, optional
        Called with the view, float32 tensor [1, S, S]; what it returns stands in the item.
    tone : str, default="range"
        What is done to the grey levels first (:mod:`lungcls.tone`).
    cache : path-like, optional
        Folder that keeps the masks, so that the next run need not find them again.
    device : str, default="auto"
        Where stage 1 runs.
    progress : callable, optional

    Attributes
    ----------
    classes : tuple of str
        In the order of the targets.
    targets : list of int
        The class of each film, as torchvision's datasets name it.

    Raises
    ------
    DataError
        If the films have no classes.
    OptionError
        If the size is not positive, or the region is unknown.
    ImageError, WeightsError
        If a film or the weights cannot be read.

    Notes
    -----
    An item is ``(view, target)``: float32 tensor [1, S, S] in [0, 1], and the index of the class. Masks are
    found when the dataset is made and kept in memory at the films' own size; films are read as they are
    asked for, also by the loader's workers. Where no two lungs were found the whole film stands in, as in
    prediction.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        region: str | Region = "mask",
        size: int = 224,
        masks: str | Path | Finder | None = "segmenter",
        transform: Callable[[torch.Tensor], Any] | None = None,
        tone: str = "range",
        cache: str | Path | None = None,
        device: str = "auto",
        progress: Progress[int] = quiet,
    ) -> None:
        if not dataset.classes or not all(dataset.labels):
            raise DataError(f"{dataset.root}: its films have no classes; expected a dataset with labels")
        if size < 1:
            raise OptionError(f"size is {size}; expected a positive number of pixels")
        self.region = region if isinstance(region, Region) else Region(region)
        self.size = size
        self.transform = transform
        self.tone = tone
        self.classes = dataset.classes
        self.targets = [self.classes.index(label) for label in dataset.labels]
        if masks is None and self.region.needs_mask:
            lungs = drawn_lungs(dataset, dataset.records, progress=progress)
        else:
            lungs = find_lungs(
                dataset,
                dataset.records,
                _finder(masks if self.region.needs_mask else None, device),
                cache,
                progress=progress,
            )
        self.lungs = [lungs[record.file] for record in dataset.records]

    def __len__(self) -> int:
        return len(self.lungs)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return a view and its target; ImageError where the film is gone or has changed."""
        cut = self.lungs[index].view(self.region, self.size, self.tone)
        view = torch.from_numpy(cut).to(torch.float32).div(255.0).unsqueeze(0)
        return view if self.transform is None else self.transform(view), self.targets[index]


def _finder(masks: str | Path | Finder | None, device: str) -> Finder:
    return masks if isinstance(masks, Finder) else Finder.load(masks, device=device)
