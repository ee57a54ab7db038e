"""A network of torchxrayvision as a subject: one of its findings against its absence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from lungcls.audit.subjects.seen import Seen
from lungcls.errors import MissingExtraError, OptionError, WeightsError
from lungcls.shortcuts.subject import ModuleSubject

_RANGE: Final = 1024.0
_SIZE: Final = 224
_SMALLEST: Final = 1e-6


def xrv_subject(
    model: Any, finding: str, seen: Seen, device: str = "auto", name: str = "xrv"
) -> ModuleSubject:
    """Wrap a network of torchxrayvision, whose grey levels go from -1024 to 1024.

    Parameters
    ----------
    model : torchxrayvision.models.DenseNet or alike
        With ``pathologies`` (or ``targets``), float32 [B, 1, S, S] to one value in [0, 1] or one logit each.
    finding : str
        One of its pathologies, such as ``Lung Opacity``.
    seen : Seen
        Two classes: with the finding, and without it, such as ``Lung_Opacity`` and ``Normal``.
    device : str, default="auto"
    name : str, default="xrv"

    Raises
    ------
    OptionError
        If the network does not know the finding, or there are not two classes.

    References
    ----------
    Cohen et al. (2022), TorchXRayVision: a library of chest X-ray datasets and models, MIDL.
    """
    import torch
    from torch import nn

    known = [
        str(one) for one in (getattr(model, "pathologies", None) or getattr(model, "targets", None) or [])
    ]
    if finding not in known:
        raise OptionError(f"{name} knows no {finding!r}; its findings are {', '.join(filter(None, known))}")
    classes = seen.named(2, f"{name}, {finding} or not,")
    place, thresholded = known.index(finding), getattr(model, "apply_sigmoid", False)
    # With thresholds of operation, or apply_sigmoid, forward gives values in [0, 1], else logits.
    chances = thresholded or getattr(model, "op_threshs", None) is not None

    class OneFinding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            value = self.model(pixels)[:, place]
            if chances:
                value = torch.logit(value, _SMALLEST)
            return torch.stack([value, torch.zeros_like(value)], dim=1)

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return ModuleSubject(
        OneFinding(),
        classes,
        seen.input_size or _SIZE,
        region=seen.region,
        mean=0.5,
        std=0.5 / _RANGE,
        device=chosen,
        name=name,
    )


def xrv_file(text: str, seen: Seen, device: str = "auto") -> ModuleSubject:
    """Return ``FINDING=FILE``: the ``state_dict`` of a DenseNet of torchxrayvision in a file.

    Raises
    ------
    WeightsError
        If the file is missing or holds other weights.
    OptionError
        As :func:`xrv_subject`.
    MissingExtraError
        If torchxrayvision is not installed.
    """
    import torch

    finding, sign, path = text.partition("=")
    if not sign or not path:
        raise OptionError(f"xrv:{text}: expected xrv:FINDING=FILE, such as 'xrv:Lung Opacity=weights.pt'")
    try:
        import torchxrayvision
    except ImportError as error:
        raise MissingExtraError("torchxrayvision", "models", "running its networks") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model = torchxrayvision.models.DenseNet(weights=None)
        model.load_state_dict(state)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file") from error
    except Exception as error:  # torch's errors have no common base
        raise WeightsError(f"{path}: no such weights ({' '.join(str(error).split())[:200]})") from error
    model.pathologies = torchxrayvision.datasets.default_pathologies
    return xrv_subject(model, finding, seen, device, Path(path).stem)
