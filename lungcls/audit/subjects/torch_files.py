"""Networks of torch from a file: exported programs, TorchScript, and the weights of a timm network."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

from lungcls.audit.subjects.seen import Seen
from lungcls.errors import OptionError, WeightsError
from lungcls.regions import Region, View
from lungcls.shortcuts.subject import Logits, ModuleSubject


class ProgramSubject:
    """A compiled program: it answers, and shows nothing of its inside.

    Parameters
    ----------
    answering : ModuleSubject
        Around the program.
    """

    def __init__(self, answering: ModuleSubject) -> None:
        self._answering = answering
        self.name = answering.name
        self.region: Region = answering.region
        self.classes = answering.classes
        self.input_size = answering.input_size
        self.device = answering.device

    def logits(self, views: View) -> Logits:
        """Return logits [B, classes]."""
        return self._answering.logits(views)


def torch_file(path: str | Path, seen: Seen, device: str = "auto") -> ProgramSubject:
    """Return a TorchScript file (``.pt``, ``.ts``) or an exported program (``.pt2``) as a subject.

    Raises
    ------
    WeightsError
        If the file is neither, such as a bare ``state_dict``.
    OptionError
        If `seen` does not say the classes or the size.
    """
    import torch

    chosen = _device(device)
    try:
        module: Any
        if Path(path).suffix == ".pt2":
            module = torch.export.load(path).module()
        else:
            module = torch.jit.load(path, map_location=chosen)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{path}: neither TorchScript nor an exported program ({' '.join(str(error).split())[:120]}); "
            "weights alone need their network: timm:NETWORK=FILE, or FILE.py:FUNCTION"
        ) from error
    if Path(path).suffix == ".pt2":
        module.eval = lambda: module  # an exported program knows no modes
    return ProgramSubject(_subject(module, seen, chosen, Path(path).stem))


def timm_subject(text: str, seen: Seen, device: str = "auto") -> ModuleSubject:
    """Return ``NETWORK=FILE``, a network of timm with weights from a file, as a subject.

    Raises
    ------
    WeightsError
        If the network is unknown, or the weights are not its.
    OptionError
        If the text or `seen` lacks something.
    """
    import timm
    import torch
    from safetensors.torch import load_file

    name, sign, path = text.partition("=")
    if not sign or not path:
        raise OptionError(
            f"timm:{text}: expected timm:NETWORK=FILE, such as timm:resnet18=weights.safetensors"
        )
    classes = seen.named(None, f"timm:{name}")
    state: dict[str, Any]
    try:
        if path.endswith(".safetensors"):
            state = dict(load_file(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        first = next(value for value in state.values() if value.ndim == 4)
        module: Any = timm.create_model(name, num_classes=len(classes), in_chans=first.shape[1])
        module.load_state_dict(state)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file") from error
    except Exception as error:  # timm, torch and safetensors have no common base
        raise WeightsError(
            f"{text}: these weights cannot be loaded ({' '.join(str(error).split())[:200]})"
        ) from error
    size = module.pretrained_cfg.get("input_size", (0, 0, 0))[-1]
    seen = Seen(classes, seen.input_size or size, seen.region, seen.mean, seen.std)
    return _subject(module, seen, _device(device), name, first.shape[1])


def _subject(module: Any, seen: Seen, device: str, name: str, channels: int | None = None) -> ModuleSubject:
    return ModuleSubject(
        module,
        seen.named(None, name),
        seen.sized(None, name),
        region=seen.region,
        mean=seen.mean,
        std=seen.std,
        channels=channels or len(seen.mean),
        device=device,
        name=name,
    )


def _device(device: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
