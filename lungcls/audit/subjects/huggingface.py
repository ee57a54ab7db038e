"""An image classifier of Hugging Face's transformers as a subject, from a folder on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lungcls.audit.subjects.seen import Seen
from lungcls.errors import MissingExtraError, WeightsError
from lungcls.shortcuts.subject import ModuleSubject


def huggingface_subject(folder: str | Path, seen: Seen, device: str = "auto") -> ModuleSubject:
    """Load a folder that ``save_pretrained`` wrote; nothing is downloaded, no code of the folder is run.

    Parameters
    ----------
    folder : path-like
        With ``config.json``, weights, and ``preprocessor_config.json``, whose size, mean and std are used.
    seen : Seen
        Its classes stand in for the folder's ``id2label`` where the dataset spells them otherwise.
    device : str, default="auto"

    Raises
    ------
    WeightsError
        If there is no such model.
    MissingExtraError
        If transformers is not installed.
    """
    try:
        from transformers import AutoModelForImageClassification
    except ImportError as error:
        raise MissingExtraError("transformers", "models", "running a Hugging Face model") from error
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{folder}: no config.json; expected a folder that save_pretrained wrote")
    try:
        model = AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{folder}: cannot be loaded ({' '.join(str(error).split())[:200]})") from error
    return module_of(model, _processing(folder / "preprocessor_config.json"), seen, device, folder.name)


def module_of(model: Any, processing: dict[str, Any], seen: Seen, device: str, name: str) -> ModuleSubject:
    """Wrap a loaded model and what its processor's configuration says.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Of image classification.
    processing : dict
        ``size``, ``image_mean``, ``image_std``; what is missing is taken from `seen` or the configuration.
    seen : Seen
    device, name : str
    """
    import torch
    from torch import nn

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(pixel_values=pixels).logits
            return logits

    config = model.config
    size = processing.get("size") or getattr(config, "image_size", None)
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    own = tuple(config.id2label[place] for place in sorted(config.id2label))
    channels = int(getattr(config, "num_channels", 3))
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return ModuleSubject(
        Logits(),
        seen.named(len(own), name) if seen.classes else own,
        seen.sized(size, name),
        region=seen.region,
        mean=processing.get("image_mean") or seen.mean,
        std=processing.get("image_std") or seen.std,
        channels=channels,
        device=chosen,
        name=name,
    )


def _processing(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path}: not readable as JSON ({error})") from error
    return found
