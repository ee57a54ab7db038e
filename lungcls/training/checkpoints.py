"""What a run keeps while it trains, so that a killed one goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint


class Checkpoint(ModelCheckpoint):
    """Lightning's, of a folder that may be moved between two parts of a run.

    Lightning keeps absolute paths, and forgets the best score where the folder is not where it was.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state with all files in the present folder."""
        folder = Path(str(self.dirpath))

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict.get(name, "")) for name in names}
        best = {here(path): score for path, score in state_dict.get("best_k_models", {}).items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best, "dirpath": self.dirpath})


class Patience(EarlyStopping):
    """Lightning's, of a run that may be taken up after it has stopped."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop again: Lightning restores how long it has waited, and trains one more epoch all the same."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
