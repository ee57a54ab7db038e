"""The data of a run: views in memory, at the size that the schedule's current stage asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from lungcls.data.augmentation import Augment
from lungcls.recipes import Recipe
from lungcls.regions import View

Load = Callable[[str, int], tuple[View, npt.NDArray[Any]]]
"""``load(part, size)``: a part's views [N, size, size], and masks of the same shape or labels [N]."""


class ViewDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Views and targets, augmented by a seed that the epoch and the index decide.

    Parameters
    ----------
    views : uint8 array [N, S, S]
    targets : uint8 array [N, S, S] of masks or int64 array [N] of labels
    augment : Augment or None
    seed : int
        Another for each epoch; the same seed gives the same images whatever the number of workers.
    """

    def __init__(self, views: View, targets: npt.NDArray[Any], augment: Augment | None, seed: int) -> None:
        self.views = views
        self.targets = targets
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        view, target = self.views[index], self.targets[index]
        if self.augment is not None:
            mask = target if self.targets.ndim == 3 else None
            view, mask = self.augment(view, mask, (self.seed * len(self) + index) % 2**32)
            target = target if mask is None else mask
        return torch.from_numpy(np.ascontiguousarray(view)), torch.as_tensor(target)


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
        self._loaded: dict[str, tuple[int, View, npt.NDArray[Any]]] = {}

    def _part(self, part: str, size: int) -> tuple[View, npt.NDArray[Any]]:
        if part not in self._loaded or self._loaded[part][0] != size:
            # The other size goes first: two copies of a large dataset need not fit together.
            self._loaded.pop(part, None)
            self._loaded[part] = (size, *self.load(part, size))
        return self._loaded[part][1:]

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        recipe, epoch = self.recipe, self.trainer.current_epoch
        views, targets = self._part("train", recipe.size_at(epoch))
        seed = recipe.seed * 10_000 + epoch
        data = ViewDataset(views, targets, Augment(recipe.augmentation), seed)
        # The order is drawn here, once: Lightning may start an epoch's loader twice, and a sampler that draws
        # when it is started would then give another order than without workers.
        generator = torch.Generator().manual_seed(seed)
        if recipe.balance == "sampler":
            weights = torch.from_numpy(1 / np.bincount(targets)[targets])
            order = torch.multinomial(weights, len(data), replacement=True, generator=generator)
        else:
            order = torch.randperm(len(data), generator=generator)
        return self._loader(data, sampler=order.tolist(), drop_last=len(data) > recipe.batch_size)

    def val_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        # Always at the size of the finished weights, so that scores of all epochs compare.
        views, targets = self._part("validation", self.recipe.input_size)
        return self._loader(ViewDataset(views, targets, None, 0))

    def _loader(self, data: ViewDataset, **options: Any) -> DataLoader[Any]:
        assert self.trainer is not None
        return DataLoader(
            data,
            batch_size=self.recipe.batch_size,
            num_workers=self.workers,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
            **options,
        )
