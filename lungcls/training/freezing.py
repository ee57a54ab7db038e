"""Schedules that train the head first and the last layers of the backbone later."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from lungcls.errors import RecipeError
from lungcls.models.layers import head, last_block, layers
from lungcls.recipes import Recipe


def frozen_layers(network: nn.Module, train: str | int) -> list[nn.Module]:
    """Return the layers that a stage of the schedule does not train.

    Parameters
    ----------
    network : torch.nn.Module
    train : {"all", "block", "head"} or int
        As :class:`lungcls.recipes.Stage` states it.

    Raises
    ------
    RecipeError
        If the network has fewer layers.
    """
    everything = layers(network)
    if train == "all":
        return []
    if train in ("head", "block"):
        kept = set(head(network)) | set(last_block(network) if train == "block" else ())
        return [layer for layer in everything if layer not in kept]
    count = int(train)
    if count > len(everything):
        raise RecipeError(f"train = {count}: the network has {len(everything)} layers with parameters")
    return everything[: len(everything) - count]


class StagedTraining(Callback):
    """Freezes what the current stage of the schedule does not train, batch norm's statistics included.

    Parameters
    ----------
    recipe : Recipe
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._frozen: list[nn.Module] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze and thaw by the epoch alone, so that a resumed run is where an unbroken one is."""
        network: Any = pl_module.network
        self._frozen = frozen_layers(network, self.recipe.stage_at(trainer.current_epoch).train)
        # Several processes exchange all gradients they announced at the start: there they are computed and
        # dropped.
        if trainer.world_size == 1:
            network.requires_grad_(True)
            for layer in self._frozen:
                layer.requires_grad_(False)
        network.train()
        for layer in self._frozen:
            if isinstance(layer, _BatchNorm):
                layer.eval()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Leave frozen layers without a gradient, which optimizers pass over."""
        for layer in self._frozen:
            for parameter in layer.parameters(recurse=False):
                parameter.grad = None
