"""Where and how a long computation runs: all that changes its speed and none of its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungcls.progress import Progress, quiet


@dataclass(frozen=True)
class RunContext:
    """Where and how training runs.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default="auto"
    devices : int, default=1
        Several GPUs share each batch through Lightning's own strategies.
    workers : int, default=1
        Processes that augment.
    cache : path-like, optional
        Where the lungs that were found are kept; by default the folder of the run.
    views_folder : path-like, optional
        Keep views in files there, and not in memory: for training on more than memory holds.
    compile_network : bool, default=False
        Compile the network (``torch.compile``): worth its minutes for long runs on a GPU.
    keep_checkpoints : bool, default=False
        Keep the checkpoint of every epoch, not only the best and the last.
    show_progress : bool, default=False
        Show Lightning's progress bar.
    progress : callable, optional
        Shows how far reading the data is.
    """

    device: str = "auto"
    devices: int = 1
    workers: int = 1
    cache: str | Path | None = None
    views_folder: str | Path | None = None
    compile_network: bool = False
    keep_checkpoints: bool = False
    show_progress: bool = False
    progress: Progress[Any] = quiet
