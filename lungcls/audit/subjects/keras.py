"""A Keras or TensorFlow model as a subject, in a process of its own: frameworks need not share one."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import weakref
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.audit.subjects.seen import Seen
from lungcls.errors import WeightsError
from lungcls.regions import View
from lungcls.shortcuts.subject import Logits

PYTHON: Final = "LUNGCLS_KERAS_PYTHON"
"""Environment variable that names the interpreter with Keras; by default that of lungcls."""

_WORKER: Final = Path(__file__).with_name("keras_worker.py")


class KerasSubject:
    """A ``.keras`` or ``.h5`` file that ends in probabilities or logits, channels last.

    Parameters
    ----------
    path : path-like
    seen : Seen

    Raises
    ------
    WeightsError
        If Keras is missing, or cannot load the file; code that a file brings (Lambda layers) is not run.
    OptionError
        If nothing says its classes or size.
    """

    def __init__(self, path: str | Path, seen: Seen) -> None:
        python = os.environ.get(PYTHON, sys.executable)
        self._process = subprocess.Popen(
            [python, str(_WORKER), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        weakref.finalize(self, _end, self._process)
        shape = self._answer(path)
        self._channels, outputs, size = (int(value) for value in shape)
        self._seen = seen
        self.name = Path(path).stem
        self.region = seen.region
        self.classes = seen.named(outputs, str(path))
        self.input_size = seen.sized(size or None, str(path))

    def logits(self, views: View) -> Logits:
        """Return logits, or the logarithm of probabilities, [B, classes]."""
        batch = self._seen.batch(views, self._channels).transpose(0, 2, 3, 1)
        assert self._process.stdin is not None
        send(self._process.stdin, np.ascontiguousarray(batch))
        found = self._answer(self.name).astype(np.float64)
        if np.allclose(found.sum(axis=1), 1, atol=1e-3) and (found >= 0).all():
            found = np.log(np.maximum(found, np.finfo(np.float32).tiny))
        return np.asarray(found, np.float32)

    def _answer(self, what: str | Path) -> NDArray[Any]:
        assert self._process.stdout is not None
        found = receive(self._process.stdout)
        if found is None:
            raise WeightsError(
                f"{what}: the process with Keras ended with code {self._process.wait()}; what it wrote "
                f"stands above. Keras may be in another environment: name its interpreter in {PYTHON}"
            )
        return found


def send(pipe: IO[bytes], values: NDArray[Any]) -> None:
    """Write an array with its length before it."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    pipe.write(struct.pack("<Q", buffer.tell()) + buffer.getvalue())
    pipe.flush()


def receive(pipe: IO[bytes]) -> NDArray[Any] | None:
    """Read what :func:`send` wrote; None at the end."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    found: NDArray[Any] = np.load(io.BytesIO(pipe.read(struct.unpack("<Q", head)[0])), allow_pickle=False)
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close its input, which ends it."""
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    process.wait(10)
