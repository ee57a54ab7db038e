"""An ONNX graph as a subject."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lungcls.audit.subjects.seen import Seen
from lungcls.errors import MissingExtraError, WeightsError
from lungcls.regions import Region, View
from lungcls.shortcuts.subject import Logits
from lungcls.weights import load_card


class OnnxSubject:
    """A graph from images float32 [B, channels, S, S] to logits [B, classes].

    Parameters
    ----------
    path : path-like
        A graph that lungcls exported brings a card, and needs no `seen`.
    seen : Seen

    Raises
    ------
    WeightsError
        If the file is no such graph.
    OptionError
        If nothing says its classes or size.
    MissingExtraError
        If onnxruntime is not installed.
    """

    def __init__(self, path: str | Path, seen: Seen) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "onnx", "running an ONNX graph") from error
        self.temperature = 1.0
        self.tone = "range"
        if Path(path).with_suffix(".json").is_file():
            card = load_card(path)
            region = Region(**(card.region or {"name": "full"}))
            seen = Seen(card.classes, card.input_size, region, (card.mean,), (card.std,))
            self.temperature, self.tone = card.temperature, card.tone
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common base
            raise WeightsError(f"{path}: not readable as an ONNX graph ({str(error)[:200]})") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or inputs[0].type != "tensor(float)":
            raise WeightsError(
                f"{path}: takes {[(one.type, one.shape) for one in inputs]}; expected one float image batch "
                "[B, channels, S, S]; wrap other graphs in FILE.py:FUNCTION"
            )
        self._input, self._output = inputs[0].name, outputs[0].name
        self._channels = shape[1] if isinstance(shape[1], int) else len(seen.mean)
        last = outputs[0].shape[-1] if outputs[0].shape else None
        self._seen = seen
        self.name = Path(path).stem
        self.region = seen.region
        self.classes = seen.named(last if isinstance(last, int) else None, str(path))
        self.input_size = seen.sized(shape[2] if isinstance(shape[2], int) else None, str(path))

    def logits(self, views: View) -> Logits:
        """Return logits [B, classes] over the temperature."""
        batch = self._seen.batch(views, self._channels)
        found = self._session.run([self._output], {self._input: batch})[0]
        logits: Logits = np.asarray(found, np.float32) / np.float32(self.temperature)
        return logits
