"""Runs a Keras model for :mod:`lungcls.audit.subjects.keras`; needs numpy and keras alone, not lungcls.

Arrays come on stdin and go to stdout, each with its length before it; what is printed goes to stderr.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from typing import Any

import numpy as np


def main(path: str) -> None:
    """Say channels, outputs and size of a model, then answer batches float32 [B, S, S, channels]."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # frameworks print
    sys.path.pop(0)  # this folder, whose modules bear the names of frameworks
    import keras  # type: ignore[import-not-found,unused-ignore]

    model = keras.saving.load_model(path, compile=False)
    _, size, _, channels = model.input_shape
    _send(pipe, np.asarray([channels, model.output_shape[-1], size or 0]))
    while len(head := sys.stdin.buffer.read(8)) == 8:
        batch = np.load(io.BytesIO(sys.stdin.buffer.read(struct.unpack("<Q", head)[0])), allow_pickle=False)
        _send(pipe, np.asarray(model.predict(batch, verbose=0)))


def _send(pipe: Any, values: np.ndarray[Any, Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    pipe.write(struct.pack("<Q", buffer.tell()) + buffer.getvalue())
    pipe.flush()


if __name__ == "__main__":
    main(sys.argv[1])
