"""The engine for machines without torch: ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lungcls.engines.forks import check_loaded_here, generation
from lungcls.engines.graphs import find_graph
from lungcls.errors import MissingExtraError, OptionError, WeightsError
from lungcls.regions import View
from lungcls.weights import Card


class OnnxNetwork:
    """An ONNX session that takes views; attributes as :class:`lungcls.engines.Network`.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    """

    engine = "onnxruntime"

    def __init__(self, session: Any) -> None:
        self._session = session
        self._loaded_in = generation()

    @property
    def device(self) -> str:
        """Where it runs."""
        return "cuda" if self._session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"

    def __call__(self, views: View) -> npt.NDArray[np.float32]:
        """Run one batch; ForkError in a process that was forked after the network was loaded."""
        check_loaded_here(self._loaded_in, self.engine)
        (logits,) = self._session.run(["logits"], {"views": np.ascontiguousarray(views)})
        return np.asarray(logits)


def load(weights: str | Path, task: str, device: str, precision: str) -> tuple[Card, OnnxNetwork]:
    """Load an ONNX file; parameters and errors as :func:`lungcls.engines.load_network`."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxruntime", "onnx", "the engine onnxruntime") from error
    card, path = find_graph(weights, task, (".onnx",))
    options = onnxruntime.SessionOptions()
    # Waiting threads would otherwise spin, on the cores that decode the next images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its own exceptions have no other common base
        raise WeightsError(f"{path}: ONNX Runtime cannot load this file: {error}") from error
    return card, OnnxNetwork(session)


def _providers(device: str, available: list[str]) -> list[Any]:
    kind, _, number = device.partition(":")
    if kind == "auto":
        kind = "cuda" if "CUDAExecutionProvider" in available else "cpu"
    if kind == "cpu" and not number:
        return ["CPUExecutionProvider"]
    if kind == "cuda" and "CUDAExecutionProvider" in available and (not number or number.isdigit()):
        return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), "CPUExecutionProvider"]
    raise OptionError(
        f"the device {device!r} is not available to ONNX Runtime here; use device='auto' or 'cpu'"
    )
