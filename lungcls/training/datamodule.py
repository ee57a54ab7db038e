"""The data of a run: views in memory, at the size that the schedule's current stage asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from lungcls.data.augmentation import Augment
from lungcls.recipes import Recipe
from lungcls.regions import View


class Views(NamedTuple):
    """A part of a split at one size: what a network sees, and what it shall say or is told beside it.

    Attributes
    ----------
    views : uint8 array [N, S, S]
    labels : int64 array [N] or None
        Class indices, for stage 2.
    masks : uint8 array [N, S, S] or None
        What moves with the views: the masks that stage 1 learns, or the lungs of stage 2's views.
    strata : int64 array [N] or None
        Within each class, images of one number are drawn as often as those of any other.
    """

    views: View
    labels: npt.NDArray[np.int64] | None = None
    masks: View | None = None
    strata: npt.NDArray[np.int64] | None = None


# A handful of films drawn over and over would be learnt by heart.
_MOST_OFTEN = 4.0

Load = Callable[[str, int], Views]
"""``load(part, size)``."""


class ViewDataset(Dataset[tuple[torch.Tensor, ...]]):
    """Views with labels, masks or both, augmented by a seed that the epoch and the index decide.

    Parameters
    ----------
    data : Views
    augment : Augment or None
    seed : int
        Another for each epoch; the same seed gives the same images whatever the number of workers.
    """

    def __init__(self, data: Views, augment: Augment | None, seed: int) -> None:
        self.data = data
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.data.views)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        """Return a view, and of label and mask what there is, in this order."""
        view, labels = self.data.views[index], self.data.labels
        mask = None if self.data.masks is None else self.data.masks[index]
        if self.augment is not None:
            view, mask = self.augment(view, mask, (self.seed * len(self) + index) % 2**32)
        item = [torch.from_numpy(np.ascontiguousarray(view))]
        if labels is not None:
            item.append(torch.as_tensor(labels[index]))
        if mask is not None:
            item.append(torch.from_numpy(np.ascontiguousarray(mask)))
        return tuple(item)


class ViewDataModule(pl.LightningDataModule):
    """Loads each stage's views once and hands Lightning a fresh loader an epoch.

    Parameters
    ----------
    recipe : Recipe
    load : callable
        Reads a part at a size.
    workers : int
        Processes that augment.
    """

    def __init__(self, recipe: Recipe, load: Load, workers: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.load = load
        self.workers = workers
        self._loaded: dict[str, tuple[int, Views]] = {}

    def _part(self, part: str, size: int) -> Views:
        if part not in self._loaded or self._loaded[part][0] != size:
            # The other size goes first: two copies of a large dataset need not fit together.
            self._loaded.pop(part, None)
            self._loaded[part] = (size, self.load(part, size))
        return self._loaded[part][1]

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        recipe, epoch = self.recipe, self.trainer.current_epoch
        views = self._part("train", recipe.size_at(epoch))
        seed = recipe.seed * 10_000 + epoch
        data = ViewDataset(views, Augment(recipe.augmentation), seed)
        # The order is drawn here, once: Lightning may start an epoch's loader twice, and a sampler that draws
        # when it is started would then give another order than without workers.
        generator = torch.Generator().manual_seed(seed)
        if views.labels is not None and (recipe.balance == "sampler" or views.strata is not None):
            weights = sampling_weights(views.labels, views.strata, equal_classes=recipe.balance == "sampler")
            order = torch.multinomial(
                torch.from_numpy(weights), len(data), replacement=True, generator=generator
            )
        else:
            order = torch.randperm(len(data), generator=generator)
        return self._loader(data, sampler=order.tolist(), drop_last=len(data) > recipe.batch_size)

    def val_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        # Always at the size of the finished weights, so that scores of all epochs compare.
        return self._loader(ViewDataset(self._part("validation", self.recipe.input_size), None, 0))

    def _loader(self, data: ViewDataset, **options: Any) -> DataLoader[Any]:
        assert self.trainer is not None
        return DataLoader(
            data,
            batch_size=self.recipe.batch_size,
            num_workers=self.workers,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
            **options,
        )


def sampling_weights(
    labels: npt.NDArray[np.int64], strata: npt.NDArray[np.int64] | None, *, equal_classes: bool
) -> npt.NDArray[np.float64]:
    """Return how often each image is drawn, relative to the others.

    Parameters
    ----------
    labels : int64 array [N]
    strata : int64 array [N] or None
        Drawn equally often within each class, but no image more than four times as often as by chance.
    equal_classes : bool
        Whether the classes are drawn equally often too; else as often as they are.

    Returns
    -------
    float64 array [N]
    """
    weights = np.ones(len(labels))
    for label in np.unique(labels):
        inside = labels == label
        if strata is not None:
            _, which, counts = np.unique(strata[inside], return_inverse=True, return_counts=True)
            share = len(which) / (len(counts) * counts[which])
            weights[inside] = np.minimum(share, _MOST_OFTEN)
        total = len(labels) if equal_classes else np.count_nonzero(inside)
        weights[inside] *= total / weights[inside].sum()
    return weights
