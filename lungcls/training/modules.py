"""What Lightning runs: the losses, the validation score and the schedule of both stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MultilabelAveragePrecision,
    MultilabelF1Score,
)

from lungcls.models import create_model
from lungcls.models.runtime import normalise
from lungcls.recipes import Recipe
from lungcls.training.distillation import Teachers
from lungcls.training.losses import FindingsLoss, classification_loss, conv_penalty
from lungcls.training.lungs import jittered, with_other_surroundings
from lungcls.training.mixing import mixing


class _Stage(pl.LightningModule):
    """The recipe's optimizer and schedule, for a network that takes normalised views."""

    monitor: str

    def __init__(self, recipe: Recipe, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = create_model(architecture)

    @property
    def selection(self) -> str:
        """The logged figure that decides which epoch is kept."""
        return "validation_loss" if self.recipe.select == "loss" else self.monitor

    @property
    def mode(self) -> str:
        """Whether that figure shall be low or high."""
        return "min" if self.recipe.select == "loss" else "max"

    def on_train_epoch_start(self) -> None:
        # Dropout and what changes whole batches draw from torch's global state (train() puts it back): set
        # anew, so that a run that was killed goes on as it would have.
        torch.manual_seed(self.recipe.seed * 10_000 + 100 * self.current_epoch + self.global_rank)

    def forward(self, views: Tensor) -> Tensor:
        logits: Tensor = self.network(normalise(views, self.recipe.mean, self.recipe.std))
        return logits.float()

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        # Norms and biases are not decayed, as is usual: their scale says nothing about complexity.
        decayed = [p for p in self.parameters() if p.ndim > 1]
        others = [p for p in self.parameters() if p.ndim <= 1]
        kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
        optimizer = kind(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            fused=True,
        )
        total = max(1, int(self.trainer.estimated_stepping_batches))
        warm = max(1, round(recipe.warmup * total))

        def factor(step: int) -> float:
            rate = recipe.rate_at(step * recipe.epochs // total) / recipe.learning_rate
            if recipe.schedule == "constant":
                return rate
            if step < warm:
                return rate * (step + 1) / warm
            return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _regularised(self, loss: Tensor) -> Tensor:
        """Add the recipe's penalty, which the logged loss leaves out: validation has none."""
        return loss + self.recipe.l2_conv * conv_penalty(self.network) if self.recipe.l2_conv else loss

    def _redrawn(self, views: Tensor, lungs: Tensor) -> Tensor:
        """The views with other surroundings, or cut along another outline, as the recipe asks."""
        shown, inside = views.unsqueeze(1).float(), lungs.unsqueeze(1).float() / 255
        if self.recipe.other_surroundings:
            shown = with_other_surroundings(shown, inside, self.recipe.other_surroundings)
        if self.recipe.mask_jitter:
            shown = shown * jittered(inside, self.recipe.mask_jitter)
        return shown.squeeze(1)

    def _log_mean(self, name: str, value: Tensor | Metric, size: int) -> None:
        self.log(name, value, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)


class SegmentationStage(_Stage):
    """Stage 1: Dice + BCE; validated by the mean Dice over images at the network's size.

    Masks are uint8, the share of each pixel that is lung: 255 is all of it.
    """

    monitor = "validation_dice"

    def __init__(self, recipe: Recipe, architecture: Mapping[str, Any]) -> None:
        super().__init__(recipe, architecture)
        self.dice_loss = smp.losses.DiceLoss(mode="binary", from_logits=True)
        self.bce_loss = nn.BCEWithLogitsLoss()
        self.dice = MeanMetric()

    def _loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        target = masks.unsqueeze(1).float() / 255
        loss: Tensor = self.dice_loss(logits, target) + self.bce_loss(logits, target)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        views, masks = batch
        loss = self._loss(self(views), masks)
        self._log_mean("train_loss", loss, len(views))
        return self._regularised(loss)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        views, masks = batch
        logits = self(views)
        predicted, target = logits[:, 0] > 0, masks > 127
        shared = (predicted & target).sum((1, 2))
        sizes = predicted.sum((1, 2)) + target.sum((1, 2))
        self.dice.update(torch.where(sizes > 0, 2 * shared / sizes.clamp(min=1), 1.0))
        self._log_mean(self.monitor, self.dice, len(views))
        self._log_mean("validation_loss", self._loss(logits, masks), len(views))


class ClassificationStage(_Stage):
    """Stage 2: the recipe's loss with class weights; validated by macro-F1.

    A training batch is views and labels, and the lungs of the views where the recipe changes what is around
    them or where they end; a validation batch is views and labels.
    """

    monitor = "validation_macro_f1"

    def __init__(
        self,
        recipe: Recipe,
        architecture: Mapping[str, Any],
        classes: int,
        class_weights: list[float] | None,
        teachers: Teachers | None = None,
    ) -> None:
        super().__init__(recipe, architecture)
        self.loss = classification_loss(recipe, class_weights)
        self.mix = mixing(recipe, classes)
        self.teachers = teachers
        self.macro_f1 = MulticlassF1Score(classes, average="macro")
        self.train_accuracy = MulticlassAccuracy(classes, average="micro")
        self.validation_accuracy = MulticlassAccuracy(classes, average="micro")

    def on_fit_start(self) -> None:
        if self.teachers is not None:
            self.teachers.to(self.device)

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        views, labels, *lungs = batch
        if lungs:
            views = self._redrawn(views, lungs[0])
        targets = labels
        if self.mix is not None:
            mixed, targets = self.mix(views.unsqueeze(1).float(), labels)
            views = mixed.squeeze(1)
        logits = self(views)
        loss: Tensor = self.loss(logits, targets)
        if self.teachers is not None:
            share = self.recipe.distillation
            loss = (1 - share) * loss + share * self.teachers.loss(logits, views)
        self.train_accuracy.update(logits.argmax(1), targets if targets.ndim == 1 else targets.argmax(1))
        self._log_mean("train_loss", loss, len(views))
        self._log_mean("train_accuracy", self.train_accuracy, len(views))
        return self._regularised(loss)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        views, labels = batch
        logits = self(views)
        predicted = logits.argmax(1)
        self.macro_f1.update(predicted, labels)
        self.validation_accuracy.update(predicted, labels)
        self._log_mean(self.monitor, self.macro_f1, len(views))
        self._log_mean("validation_accuracy", self.validation_accuracy, len(views))
        self._log_mean("validation_loss", self.loss(logits, labels), len(views))


class FindingsStage(_Stage):
    """Stage 2 of several findings a film: binary cross-entropy of each; validated by mean average precision.

    Labels are int64 [B, K]: 1 there, 0 not there, -1 not known, which has no part in loss and scores.
    """

    monitor = "validation_macro_ap"

    def __init__(
        self, recipe: Recipe, architecture: Mapping[str, Any], classes: int, weights: list[float] | None
    ) -> None:
        super().__init__(recipe, architecture)
        self.loss = FindingsLoss(weights)
        self.macro_ap = MultilabelAveragePrecision(classes, ignore_index=-1)
        # In place of accuracies, which rare findings make high by themselves.
        self.train_f1 = MultilabelF1Score(classes, ignore_index=-1)

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        views, labels, *lungs = batch
        if lungs:
            views = self._redrawn(views, lungs[0])
        logits = self(views)
        loss: Tensor = self.loss(logits, labels)
        self.train_f1.update(logits.detach().sigmoid(), labels)
        self._log_mean("train_loss", loss, len(views))
        self._log_mean("train_macro_f1", self.train_f1, len(views))
        return self._regularised(loss)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        views, labels = batch
        logits = self(views)
        self.macro_ap.update(logits.sigmoid(), labels)
        self._log_mean(self.monitor, self.macro_ap, len(views))
        self._log_mean("validation_loss", self.loss(logits, labels), len(views))
