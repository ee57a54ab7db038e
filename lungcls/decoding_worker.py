"""A process that decodes compressed DICOM pixels for :mod:`lungcls.decoding`; run with ``python -m``.

Each job comes on standard input as a line of JSON and the bytes that it announces, and is answered on
standard output in the same way; where the number of a file of shared memory is given, the bytes go through
that. Decoders are libraries in C and Rust: one that panics, crashes, hangs or
takes all memory ends this process and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from typing import Any, BinaryIO

MEMORY = 1 << 30
"""Bytes that the process may take above what it has when it starts, for images of up to 64 megapixels."""


def main() -> None:
    """Answer jobs until standard input ends."""
    jobs = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the answers
    warnings.simplefilter("ignore")
    # Before memory and time are bounded: where no module is compiled yet, it takes longer than a film may.
    import pydicom.pixels.decoders  # noqa: F401 - with the plug-ins that are installed

    from lungcls.decoding import decode_here, write_all

    shared = int(sys.argv[1]) if len(sys.argv) > 1 else None
    base = _memory()
    while line := jobs.readline():
        job = json.loads(line)
        data = jobs.read(job["bytes"]) if shared is None else os.pread(shared, job["bytes"], 0)
        _bound_memory(base, job["options"]["rows"] * job["options"]["columns"])
        _bound_time(job["seconds"])
        try:
            stored = decode_here(job["syntax"], data, job["options"])
        except BaseException as error:  # a panic in Rust is no Exception
            _bound_time(0)
            _answer(answers, {"error": f"{error}"[:2000] or type(error).__name__}, b"")
        else:
            _bound_time(0)
            if shared is not None:
                write_all(shared, stored.data)
            head = {"dtype": stored.dtype.str, "shape": stored.shape}
            _answer(answers, head, stored.data if shared is None else b"")


def _answer(answers: BinaryIO, head: dict[str, Any], body: bytes | memoryview) -> None:
    answers.write(json.dumps(head).encode() + b"\n")
    answers.write(body)
    answers.flush()


def _bound_time(seconds: float) -> None:
    """End the process after so much time of the processor (which does not run while the machine is busy)."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _memory() -> int:
    """Return the bytes of address space in use, or 0 where the system does not tell."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # the time is bounded all the same
        return 0


def _bound_memory(base: int, pixels: int) -> None:
    if base:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (base + max(MEMORY, 16 * pixels), resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
