"""The options of a pipeline, said once: for Python, command line, web service and the header of a run."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from lungcls.conformal import checked_coverage
from lungcls.engines import ENGINES, PRECISIONS
from lungcls.errors import OptionError
from lungcls.pixels import MAX_MEGAPIXELS
from lungcls.regions import Region

if TYPE_CHECKING:
    from torch import nn

    from lungcls.classifier import Classifier
    from lungcls.gate.screening import Gate
    from lungcls.segmenter import Segmenter

_PRECISIONS = tuple(dict.fromkeys(name for names in PRECISIONS.values() for name in names))


def option(
    default: Any,
    help: str,
    *,
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
    low: float | None = None,
) -> Any:
    """A field of a class of options, with all that a command line or a page needs to offer it.

    Parameters
    ----------
    default : object
    help : str
        One line for the reader of ``--help``.
    metavar : str, optional
        What stands for the value there; by default the choices.
    choices : tuple of str, optional
        All values there are.
    low : float, optional
        The smallest of a number.
    """
    says = {"help": help, "metavar": metavar or "|".join(choices) or None, "choices": choices, "low": low}
    return field(default=default, metadata=says)


class MemberKeywords(TypedDict, total=False):
    """The options of a pipeline that the members of an ensemble share, for type checkers and editors."""

    segmenter: str | Path | Segmenter | nn.Module
    gate: str | Path | Gate | None
    fallback: str | Path | Classifier | None
    device: str
    engine: str
    precision: str
    on_bad_mask: Literal["whole", "refuse"]
    on_reject: Literal["flag", "raise", "abstain"]
    fill_holes: bool | None
    keep_parts: int | None
    tta: int
    coverage: float | None


class PipelineKeywords(MemberKeywords, total=False):
    """The options of :class:`lungcls.Pipeline`, where a call passes them on."""

    region: str | None
    classifier: str | Path | Classifier | nn.Module | None
    batch_size: int
    max_megapixels: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    r"""What :class:`lungcls.Pipeline` can be told, checked as far as can be before anything is loaded.

    Parameters
    ----------
    region, classifier, segmenter, gate, fallback, device, engine, precision, batch_size, on_bad_mask, \
    on_reject, fill_holes, keep_parts, max_megapixels, tta, coverage
        As :class:`lungcls.Pipeline` describes them.

    Raises
    ------
    OptionError
        If a value is unknown, out of range, or of a wrong type.
    """

    region: str | None = option(
        None, "Which released classifier: mask (the default), crop or full.", metavar="REGION"
    )
    classifier: str | Path | Classifier | nn.Module | None = option(
        None, "Weights of stage 2; classifier-REGION if left out.", metavar="NAME|PATH"
    )
    segmenter: str | Path | Segmenter | nn.Module = option(
        "segmenter", "Weights of stage 1.", metavar="NAME|PATH"
    )
    gate: str | Path | Gate | None = option(
        "gate",
        "Weights of the check that an image is a chest X-ray; none does without.",
        metavar="NAME|PATH|none",
    )
    fallback: str | Path | Classifier | None = option(
        "auto",
        "What answers for whole films, where two lungs were not found; none lets the classifier itself.",
        metavar="auto|NAME|PATH|none",
    )
    device: str = option("auto", "What to run on.", metavar="auto|cpu|cuda|cuda:N|mps")
    engine: str = option(
        "auto", "What runs the networks; auto is torch where it is installed.", choices=("auto", *ENGINES)
    )
    precision: str = option(
        "fp32", "Arithmetic in the networks; bf16 is faster on some machines.", choices=_PRECISIONS
    )
    batch_size: int = option(16, "Images that run together.", low=1)
    on_bad_mask: str = option(
        "whole",
        "Where both lungs were not found: use the whole image and say so, or refuse.",
        choices=("whole", "refuse"),
    )
    on_reject: str = option(
        "flag",
        "Where something is wrong with an image: say so (and give no label only where it is no chest X-ray), "
        "give no label, or count it as failed.",
        choices=("flag", "abstain", "raise"),
    )
    fill_holes: bool | None = option(None, "Fill holes in the mask, or leave them.")
    keep_parts: int | None = option(
        None, "Largest parts of the mask that are kept; 0 keeps all, 2 if left out.", low=0
    )
    max_megapixels: float = option(MAX_MEGAPIXELS, "Larger images are refused.", metavar="NUMBER")
    tta: int = option(0, "Average over so many slightly changed views besides.", low=0)
    coverage: float | None = option(
        0.9, "How often the conformal set shall hold the true class.", metavar="SHARE"
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each.name, getattr(self, each.name), each.metadata)
        if self.region is not None:
            Region(self.region)
        check_device(self.device)
        if not _is_number(self.max_megapixels) or not self.max_megapixels > 0:
            raise OptionError(
                f"max_megapixels is {self.max_megapixels!r}; expected a positive number, such as "
                f"{MAX_MEGAPIXELS:g}, or math.inf for no limit"
            )
        if self.coverage is not None:
            if not _is_number(self.coverage):
                raise OptionError(
                    f"coverage is {self.coverage!r}; expected a number between 0 and 1, such as 0.9"
                )
            checked_coverage(self.coverage)

    def keywords(self) -> dict[str, Any]:
        """Return the options by name, as :class:`lungcls.Pipeline` takes them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON-safe values; a loaded stage by the name in its card, or of its type."""
        return {name: _plain(value) for name, value in self.keywords().items()}


def same_option(name: str, default: Any) -> Any:
    """A field of another class of options, which says what the pipeline's of this name says."""
    (like,) = (each for each in fields(PipelineOptions) if each.name == name)
    return field(default=default, metadata=like.metadata)


def check_device(device: str) -> None:
    """Refuse what is no name of a device, with an OptionError; whether it is here is seen when it is used."""
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise OptionError(f"unknown device {device!r}; expected auto, cpu, cuda, cuda:N or mps")


def _check(name: str, value: Any, says: Mapping[str, Any]) -> None:
    """Check a value by what its field says of itself."""
    if says["choices"] and value not in says["choices"]:
        expected = ", ".join(map(repr, says["choices"]))
        raise OptionError(f"{name} is {value!r}; expected one of {expected}")
    if says["low"] is not None and value is not None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < says["low"]:
            raise OptionError(f"{name} is {value!r}; expected a whole number, at least {says['low']}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    card = getattr(value, "card", None)
    return card.name if card is not None else type(value).__name__
