"""Which kind of model a text names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from lungcls.audit.subjects.seen import Seen
from lungcls.errors import OptionError, WeightsError
from lungcls.shortcuts.subject import Subject, load_subject

_REFUSED: Final = (".joblib", ".pkl", ".pickle")


def _onnx(path: str, seen: Seen, device: str) -> Subject:
    from lungcls.audit.subjects.onnx import OnnxSubject

    return OnnxSubject(path, seen)


def _torch(path: str, seen: Seen, device: str) -> Subject:
    from lungcls.audit.subjects.torch_files import torch_file

    return torch_file(path, seen, device)


def _timm(text: str, seen: Seen, device: str) -> Subject:
    from lungcls.audit.subjects.torch_files import timm_subject

    return timm_subject(text, seen, device)


def _keras(path: str, seen: Seen, device: str) -> Subject:
    from lungcls.audit.subjects.keras import KerasSubject

    return KerasSubject(path, seen)


def _skops(path: str, seen: Seen, device: str) -> Subject:
    from lungcls.audit.subjects.sklearn import skops_subject

    return skops_subject(path, seen)


def _huggingface(folder: str, seen: Seen, device: str) -> Subject:
    from lungcls.audit.subjects.huggingface import huggingface_subject

    return huggingface_subject(folder, seen, device)


def _xrv(text: str, seen: Seen, device: str) -> Subject:
    from lungcls.audit.subjects.xrv import xrv_file

    return xrv_file(text, seen, device)


Loader = Callable[[str, Seen, str], Subject]

SUFFIXES: Final[dict[str, Loader]] = {
    ".onnx": _onnx,
    ".pt": _torch,
    ".pth": _torch,
    ".ts": _torch,
    ".pt2": _torch,
    ".keras": _keras,
    ".h5": _keras,
    ".skops": _skops,
}
"""Kinds of model files by their suffix."""

SCHEMES: Final[dict[str, Loader]] = {"timm": _timm, "hf": _huggingface, "xrv": _xrv}
"""Kinds of models that are named ``scheme:what``."""


def load_any(text: str, seen: Seen | None = None, device: str = "auto") -> Subject:
    """Return the subject that a text names.

    Parameters
    ----------
    text : str
        A file of one of :data:`SUFFIXES`; ``timm:NETWORK=FILE``; ``hf:FOLDER``; ``xrv:FINDING=FILE``; or
        whatever :func:`lungcls.shortcuts.subject.load_subject` takes: weights of lungcls, or
        ``FILE.py:FUNCTION``.
    seen : Seen, optional
        What the file does not say.
    device : str, default="auto"
        For torch.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or of a kind that runs code when it is read.
    OptionError
        If nothing says what the model sees.
    MissingExtraError
        If the packages of that framework are missing.
    """
    seen = seen or Seen()
    scheme, colon, rest = text.partition(":")
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme](rest, seen, device)
    suffix = Path(text).suffix.lower()
    if suffix in _REFUSED:
        raise WeightsError(
            f"{text}: a pickle runs whatever code it holds when it is read, and is not opened; save a model "
            "of scikit-learn with skops.io.dump, or give FILE.py:FUNCTION of a function that loads it"
        )
    if suffix in SUFFIXES:
        if not Path(text).is_file():
            raise WeightsError(f"{text}: there is no such file")
        return SUFFIXES[suffix](text, seen, device)
    if seen.classes:
        raise OptionError(f"--outputs is for files that do not say their classes; {text} does")
    return load_subject(text, device)
