"""From the name of an engine and of weights to a network that runs."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lungcls.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

    from lungcls.engines.network import Network
    from lungcls.weights import Card

ENGINES: Final = ("torch", "onnxruntime", "openvino")
"""The engines by name; ``auto`` stands for the first that is installed."""

PRECISIONS: Final[dict[str, tuple[str, ...]]] = {
    "torch": ("fp32", "bf16"),
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "bf16"),
}
"""The arithmetic that each engine offers. 8-bit integers are a property of an exported file, no option."""

_MODULES: Final = {"torch": "pytorch", "onnxruntime": "onnx_runtime", "openvino": "open_vino"}
_MADE_FOR: Final = {".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",), ".pt2": ("torch",)}


def load_network(
    weights: str | Path, task: str, *, engine: str = "auto", device: str = "auto", precision: str = "fp32"
) -> tuple[Card, Network]:
    """Load weights for a task into an engine.

    Parameters
    ----------
    weights : str or path-like
        The name of a released weight file, or a path: of a ``.safetensors`` file, or of what ``lungcls
        export`` wrote for the engine.
    task : str
        What the weights must be for, as their card says it (``segmentation``, ``classification``).
    engine : {"auto", "torch", "onnxruntime", "openvino"}, default="auto"
        ``auto`` is torch where it is installed, else the first of the others that is; for an exported file,
        the engine that it was made for.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default="auto"
        What there is depends on the engine.
    precision : {"fp32", "bf16"}, default="fp32"
        Arithmetic inside the network. Inputs and outputs stay the same.

    Returns
    -------
    card : Card
    network : Network

    Raises
    ------
    WeightsError
        If the weights are missing, damaged or for another task.
    MissingExtraError
        If the engine is not installed.
    ValueError
        If the engine, the precision or the device is unknown or not available.
    """
    chosen = _resolve(engine, weights)
    if precision not in PRECISIONS[chosen]:
        raise OptionError(
            f"precision is {precision!r}; the engine {chosen} offers {', '.join(PRECISIONS[chosen])}"
        )
    loader = import_module(f"lungcls.engines.{_MODULES[chosen]}").load
    loaded: tuple[Card, Network] = loader(weights, task, device, precision)
    return loaded


def torch_module(network: Network) -> nn.Module:
    """Return the module of a network that runs in torch, for what needs its gradients or layers.

    Raises
    ------
    ValueError
        If it runs in another engine.
    """
    from torch import nn

    module = getattr(network, "module", None)
    if not isinstance(module, nn.Module):
        name = getattr(network, "engine", type(network).__name__)
        raise OptionError(f"the engine {name} has no torch module; load the weights with engine='torch'")
    return module


def _resolve(engine: str, weights: str | Path) -> str:
    if engine == "auto":
        made_for = _MADE_FOR.get(Path(weights).suffix, ENGINES)
        return next((name for name in made_for if find_spec(name)), made_for[0])
    if engine not in ENGINES:
        raise OptionError(f"unknown engine {engine!r}; the engines are auto, {', '.join(ENGINES)}")
    return engine
