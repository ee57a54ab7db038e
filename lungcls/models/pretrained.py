"""Networks that start from the weights of another run."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from lungcls.errors import WeightsError
from lungcls.weights import load_state


class PretrainedError(WeightsError):
    """Weights to start from belong to another network."""


_ENCODER: Final = "encoder."

# A head for other classes may differ; a network of another kind may not.
_SHARE: Final = 0.9


def copy_weights(network: nn.Module, name: str | Path) -> None:
    """Copy all tensors of a weight file that fit, by name and shape, into a network.

    A classifier may start from the encoder of a U-Net that is the same network, such as ``densenet121``, and
    a deeper residual network from a shallower one of its family: timm's new blocks add nothing until they are
    trained, so that a U-Net on ``tu-resnet34`` begins as the one on ``tu-resnet18`` that it comes from.

    Parameters
    ----------
    network : torch.nn.Module
    name : str or path-like
        As :func:`lungcls.weights.find_weights` takes it.

    Raises
    ------
    WeightsError
        If the file is missing or damaged.
    PretrainedError
        If too little of it fits: less than nine tenths of the network's tensors or, where it has few,
        anything but its last layer; unless the rest are residual blocks that add nothing yet.

    References
    ----------
    Chen et al.: Net2Net: Accelerating Learning via Knowledge Transfer, 2016 (networks that grow).
    Goyal et al.: Accurate, Large Minibatch SGD, 2017 (residual blocks that begin as nothing).
    """
    _, initial = load_state(name)
    own = network.state_dict()
    if not any(key.startswith(_ENCODER) for key in own):
        initial = {key.removeprefix(_ENCODER): value for key, value in initial.items()}
    fitting = {key: value for key, value in initial.items() if key in own and own[key].shape == value.shape}
    needed = min(_SHARE * len(own), len(own) - 2)
    grows = len(fitting) >= _SHARE * len(initial) and _add_nothing(own, own.keys() - fitting.keys())
    if len(fitting) < needed and not grows:
        raise PretrainedError(
            f"{name}: only {len(fitting)} of its {len(initial)} tensors fit the network's {len(own)}; "
            "start from weights of the same architecture"
        )
    network.load_state_dict({**own, **fitting})


def _add_nothing(state: Mapping[str, Tensor], keys: Set[str]) -> bool:
    """Whether the blocks of these tensors all have a scale of zero, so that only their shortcut counts."""
    scales = {key.rsplit(".", 2)[0] for key in keys if key.endswith(".weight") and not state[key].any()}
    return {key.rsplit(".", 2)[0] for key in keys} <= scales
