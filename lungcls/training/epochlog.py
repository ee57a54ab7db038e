"""A CSV log with one row an epoch that goes on after a resume."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from lungcls.files import write_rows
from lungcls.recipes import Recipe


class EpochLog(Callback):
    """Writes ``epoch, size, learning_rate, seconds`` and all logged figures after each epoch.

    Lightning's own CSV logger starts a new file when a run is resumed; here the whole history stays in one.

    Parameters
    ----------
    path : Path
        Of the CSV file.
    recipe : Recipe
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        self.recipe = recipe
        self._rows: list[dict[str, Any]] = []
        self._start = 0.0
        self._rate = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the rows of the epochs that the checkpoint holds; a killed epoch is run again."""
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            self._rows = [row for row in rows if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._start = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the rate: after the epoch's last step it is already the next epoch's."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file anew with this epoch's row."""
        if not trainer.is_global_zero:
            return
        row = {
            "epoch": trainer.current_epoch,
            "size": self.recipe.size_at(trainer.current_epoch),
            "learning_rate": self._rate,
            "seconds": round(time.perf_counter() - self._start, 1),
            **{name: float(value) for name, value in sorted(trainer.logged_metrics.items(), key=_place)},
        }
        self._rows.append(row)
        # A run that an older lungcls started has fewer columns.
        columns = list(dict.fromkeys(name for one in (row, *self._rows) for name in one))
        write_rows(self.path, columns, self._rows)


def _place(figure: tuple[str, Any]) -> tuple[bool, bool, str]:
    """Order the columns: training, the score on validation, then its loss and accuracy."""
    name = figure[0]
    return name.startswith("validation"), name.endswith(("_loss", "_accuracy")), name
