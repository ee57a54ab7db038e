"""What one model said of each film of a study: all that figures, comparisons and reports are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lungcls.errors import DataError
from lungcls.numeric import softmax

Bools = npt.NDArray[np.bool_]

_FLAGS: Final = ("accepted", "corrected", "fallback")


@dataclass(frozen=True, eq=False)
class Answers:
    """Outputs of one model on some films.

    Attributes
    ----------
    name : str
        Of the model.
    classes : tuple of str
    files, groups : tuple of str, length N
        Image files, and what must not be counted as independent (patients, near duplicates).
    labels : int64 array [N]
        True classes.
    logits : float64 array [N, K]
        Before the temperature.
    temperature : float, default=1.0
    accepted, corrected, fallback : bool arrays [N], optional
        Whether the quality gate let a film pass (all others get no label), whether it was corrected
        (inverted back), and whether the whole film stood in for want of two lungs. None where nobody looked.
    about : mapping
        What else the table of models shows: network, region, parameters, bytes, latency.
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    groups: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float64]
    temperature: float = 1.0
    accepted: Bools | None = None
    corrected: Bools | None = None
    fallback: Bools | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.files)

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Softmax of the logits over the temperature, [N, K]."""
        return softmax(self.logits / self.temperature)

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Index of the most probable class, [N]."""
        return np.asarray(self.logits.argmax(axis=1), np.int64)

    @property
    def right(self) -> Bools:
        """Whether the most probable class is the true one, [N]."""
        return np.asarray(self.predicted == self.labels)

    def of(self, chosen: Bools) -> Answers:
        """Return the answers to some of the films."""
        at = np.flatnonzero(chosen).tolist()
        flags: dict[str, Any] = {
            name: None if (flag := getattr(self, name)) is None else flag[at] for name in _FLAGS
        }
        return replace(
            self,
            files=tuple(self.files[i] for i in at),
            groups=tuple(self.groups[i] for i in at),
            labels=self.labels[at],
            logits=self.logits[at],
            **flags,
        )

    def labelled(self) -> Answers:
        """Return the answers to the films that get a label: those that the gate accepts."""
        return self if self.accepted is None or self.accepted.all() else self.of(self.accepted)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row a film: model, file, group, label, predicted, what the gate did, probabilities.

        Eight digits of each probability, however small: ranks of films that a model is sure of stay apart.
        """
        rows = []
        flags = {name: flag.tolist() for name in _FLAGS if (flag := getattr(self, name)) is not None}
        for index, values in enumerate(self.probabilities.tolist()):
            common = {"model": self.name, "file": self.files[index], "group": self.groups[index]}
            label, said = self.classes[self.labels[index]], self.classes[self.predicted[index]]
            marks = {name: int(flag[index]) for name, flag in flags.items()}
            shown = {name: float(f"{value:.8g}") for name, value in zip(self.classes, values)}
            rows.append({**common, "label": label, "predicted": said, **marks, **shown})
        return rows


def check_alike(several: Sequence[Answers]) -> None:
    """Raise DataError unless all models answered the same images, of the same classes, in the same order."""
    first = several[0]
    for other in several[1:]:
        if other.classes != first.classes:
            raise DataError(
                f"{first.name} knows the classes {', '.join(first.classes)}, {other.name} "
                f"{', '.join(other.classes)}; models are compared on the same classes"
            )
        if other.files != first.files or not np.array_equal(other.labels, first.labels):
            raise DataError(
                f"{first.name} and {other.name} answered different images ({len(first.files)} and "
                f"{len(other.files)}); compare models on the same part of one split"
            )


def ensemble(several: Sequence[Answers], name: str = "ensemble") -> Answers:
    """Return the mean of the models' probabilities.

    Parameters
    ----------
    several : sequence of Answers
    name : str

    Returns
    -------
    Answers

    Raises
    ------
    DataError
        If the models did not answer the same images of the same classes.
    """
    check_alike(several)
    mean = np.mean([one.probabilities for one in several], axis=0)
    about: dict[str, Any] = {"network": " + ".join(dict.fromkeys(one.name for one in several))}
    for key in ("parameters", "bytes", "latency_ms"):
        values = [one.about.get(key) for one in several]
        if all(value is not None for value in values):
            about[key] = sum(value for value in values if value is not None)
    # A probability that underflowed is not zero for certain.
    logits = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
    fallbacks = [one.fallback for one in several if one.fallback is not None]
    fallback = np.any(fallbacks, axis=0) if len(fallbacks) == len(several) else None
    return replace(several[0], name=name, logits=logits, temperature=1.0, fallback=fallback, about=about)
