"""What Lightning runs: the losses, the validation score and the schedule of both stages."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassF1Score

from lungcls.labels import CLASSES
from lungcls.models import create_model
from lungcls.models.runtime import normalise
from lungcls.recipes import Recipe


class _Stage(pl.LightningModule):
    """AdamW, linear warm-up and cosine, for a network that takes normalised views."""

    monitor: str

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = create_model(recipe.model)

    def forward(self, views: Tensor) -> Tensor:
        logits: Tensor = self.network(normalise(views, self.recipe.mean, self.recipe.std))
        return logits.float()

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        # Norms and biases are not decayed, as is usual: their scale says nothing about complexity.
        decayed = [p for p in self.parameters() if p.ndim > 1]
        others = [p for p in self.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
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
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class SegmentationStage(_Stage):
    """Stage 1: Dice + BCE; validated by the mean Dice over images at the network's size."""

    monitor = "validation_dice"

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.dice_loss = smp.losses.DiceLoss(mode="binary", from_logits=True)
        self.bce_loss = nn.BCEWithLogitsLoss()
        self.dice = MeanMetric()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        views, masks = batch
        logits, target = self(views), masks.unsqueeze(1).float()
        loss: Tensor = self.dice_loss(logits, target) + self.bce_loss(logits, target)
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(views))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        views, masks = batch
        predicted, target = self(views)[:, 0] > 0, masks.bool()
        shared = (predicted & target).sum((1, 2))
        sizes = predicted.sum((1, 2)) + target.sum((1, 2))
        self.dice.update(torch.where(sizes > 0, 2 * shared / sizes.clamp(min=1), 1.0))
        self.log(self.monitor, self.dice, on_epoch=True, prog_bar=True, batch_size=len(views))


class ClassificationStage(_Stage):
    """Stage 2: cross-entropy with class weights; validated by macro-F1."""

    monitor = "validation_macro_f1"

    def __init__(self, recipe: Recipe, class_weights: list[float] | None) -> None:
        super().__init__(recipe)
        weights = torch.tensor(class_weights) if class_weights is not None else None
        self.loss = nn.CrossEntropyLoss(weights, label_smoothing=recipe.label_smoothing)
        self.macro_f1 = MulticlassF1Score(len(CLASSES), average="macro")

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        views, labels = batch
        loss: Tensor = self.loss(self(views), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(views))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        views, labels = batch
        self.macro_f1.update(self(views).argmax(1), labels)
        self.log(self.monitor, self.macro_f1, on_epoch=True, prog_bar=True, batch_size=len(views))
