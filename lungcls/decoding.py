"""Compressed DICOM pixels, decoded where a panic, a crash or a hang of the decoder costs one file."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS: Final = 1.0  # of the processor for one file,
_SECONDS_PER_MEGAPIXEL: Final = 1.5  # which is several times what the slowest decoder takes
_PIPE: Final = 1 << 20  # bytes; at the usual 64 KiB the two processes wait for each other too often
_KEPT: Final = 32 << 20  # bytes of shared memory that an idle worker may hold
_WALL: Final = 20.0  # times as long on the clock, for what waits without working


class DecodingError(Exception):
    """The decoder refused the pixels, or did not survive them."""


def decode_here(syntax: str, data: bytes, options: Mapping[str, Any]) -> NDArray[Any]:
    """Decode pixels in this process.

    Parameters
    ----------
    syntax : str
        UID of the transfer syntax.
    data : bytes
        Value of the element Pixel Data.
    options : mapping
        As ``pydicom.pixels.decoders.base.Decoder.as_array`` takes them.

    Returns
    -------
    ndarray, shape (rows, columns)
        The stored values.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    stored, _ = get_decoder(UID(syntax)).as_array(data, raw=True, **options)
    return np.ascontiguousarray(stored)


def decode_apart(syntax: str, data: bytes, options: Mapping[str, Any]) -> NDArray[Any]:
    """Decode pixels in a process of their own; parameters and result as :func:`decode_here`.

    Raises
    ------
    DecodingError
        The decoder refused them, crashed, or took more time or memory than the size allows.
    """
    try:
        worker = _IDLE.pop()
    except IndexError:
        worker = _Worker()
    try:
        stored = worker.decode(syntax, data, options)
    except DecodingError:
        if worker.alive:
            _IDLE.append(worker)
        raise
    except BaseException:
        worker.close()
        raise
    _IDLE.append(worker)
    return stored


class _Worker:
    def __init__(self) -> None:
        # Pixels go through memory that both processes share, which costs half as much as a pipe. It is read
        # and written, not mapped: what the worker does to it is no fault of this process.
        self._memory = os.memfd_create("lungcls") if hasattr(os, "memfd_create") else None
        shared = () if self._memory is None else (self._memory,)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lungcls.decoding_worker", *map(str, shared)],
            pass_fds=shared,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # What this process can import the other one must find too.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            pipesize=_PIPE,
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None

    def decode(self, syntax: str, data: bytes, options: Mapping[str, Any]) -> NDArray[Any]:
        seconds = _SECONDS + _SECONDS_PER_MEGAPIXEL * options["rows"] * options["columns"] / 1e6
        job = {"syntax": syntax, "bytes": len(data), "options": dict(options), "seconds": seconds}
        alarm = threading.Timer(_WALL * seconds, self._process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            return self._exchange(json.dumps(job).encode() + b"\n", data)
        except (OSError, ValueError, EOFError) as error:  # a broken pipe, or half an answer
            self.close()
            raise DecodingError(
                f"the decoder crashed, or took more than {seconds:.0f} s or 1 GiB (it ended with code "
                f"{self._process.returncode})"
            ) from error
        finally:
            alarm.cancel()

    def _exchange(self, head: bytes, data: bytes) -> NDArray[Any]:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None  # noqa: PT018 - they are pipes
        if self._memory is None:
            head += data
        else:
            write_all(self._memory, data)
        requests.write(head)
        requests.flush()
        answer = json.loads(answers.readline())
        if "error" in answer:
            raise DecodingError(answer["error"])
        stored = np.empty(answer["shape"], np.dtype(answer["dtype"]))
        body, done = memoryview(stored.data).cast("B"), 0
        while done < len(body):
            if self._memory is None:
                count = answers.readinto(body[done:])  # type: ignore[attr-defined]
            else:
                count = os.preadv(self._memory, [body[done:]], done)
            if not count:
                raise EOFError("half an answer")
            done += count
        if self._memory is not None and done > _KEPT:
            os.ftruncate(self._memory, 0)
        return stored


def write_all(memory: int, data: Any) -> None:
    """Write bytes to the start of shared memory."""
    body, done = memoryview(data).cast("B"), 0
    while done < len(body):
        done += os.pwrite(memory, body[done:], done)


_IDLE: deque[_Worker] = deque()  # its append and pop are safe among threads


def _close_all() -> None:
    while _IDLE:
        _IDLE.pop().close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    # The child of a fork would share its parent's pipes.
    os.register_at_fork(after_in_child=_IDLE.clear)
