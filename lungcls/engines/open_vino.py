"""The fastest engine on a CPU: OpenVINO."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lungcls.engines.forks import check_loaded_here, generation
from lungcls.engines.graphs import find_graph
from lungcls.errors import MissingExtraError, OptionError, WeightsError
from lungcls.regions import View
from lungcls.weights import Card


class OpenVinoNetwork:
    """A compiled model that takes views; attributes as :class:`lungcls.engines.Network`.

    Parameters
    ----------
    compiled : openvino.CompiledModel
    device : str
    """

    engine = "openvino"

    def __init__(self, compiled: Any, device: str) -> None:
        self._compiled = compiled
        self.device = device

    def __call__(self, views: View) -> npt.NDArray[np.float32]:
        """Run one batch; ForkError in a process that was forked after OpenVINO was loaded."""
        check_loaded_here(_core()[1], self.engine)
        # A request of its own for each call, so that threads may share the network.
        request = self._compiled.create_infer_request()
        results = request.infer({"views": np.ascontiguousarray(views)}, share_inputs=True)
        return np.asarray(results["logits"])


def load(weights: str | Path, task: str, device: str, precision: str) -> tuple[Card, OpenVinoNetwork]:
    """Load an ONNX or OpenVINO file; parameters and errors as :func:`lungcls.engines.load_network`."""
    try:
        core, loaded_in = _core()
    except ModuleNotFoundError as error:
        raise MissingExtraError("openvino", "openvino", "the engine openvino") from error
    check_loaded_here(loaded_in, "openvino")
    name = "CPU" if device == "auto" else device.upper().replace(":", ".")
    if name not in core.available_devices:
        raise OptionError(
            f"the device {device!r} is not available to OpenVINO here; use device='auto' or 'cpu'"
        )
    card, path = find_graph(weights, task, (".onnx", ".xml"))
    # By default OpenVINO itself falls back to 16 bits where the processor has them.
    options = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        compiled = core.compile_model(_read(core, path), name, options)
    except RuntimeError as error:
        raise WeightsError(f"{path}: OpenVINO cannot load this file: {error}") from error
    return card, OpenVinoNetwork(compiled, device="cpu" if device == "auto" else device)


@lru_cache(maxsize=1)
def _core() -> tuple[Any, int]:
    """OpenVINO's core, which has the threads of all its networks, and the generation that loaded it."""
    import openvino

    return openvino.Core(), generation()


def _read(core: Any, path: Path) -> Any:
    # Both files by name, so that no other is looked for.
    return core.read_model(path, path.with_suffix(".bin")) if path.suffix == ".xml" else core.read_model(path)
