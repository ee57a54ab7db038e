"""What a model said of each image of one part of a dataset: all that its report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lungcls.errors import DataError


@dataclass(frozen=True, eq=False)
class Answers:
    """Probabilities of one model on some images.

    Attributes
    ----------
    name : str
        Of the model.
    classes : tuple of str
    files, groups : tuple of str, length N
        Image files, and what must not be counted as independent (patients, near duplicates).
    labels : int64 array [N]
        True classes.
    probabilities : float64 array [N, K]
    about : dict
        What else the table of models shows: network, region, parameters, bytes, latency.
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    groups: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Index of the most probable class, [N]."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row an image: model, file, group, label, predicted and a probability a class."""
        rows = []
        for index, values in enumerate(self.probabilities.round(6).tolist()):
            common = {"model": self.name, "file": self.files[index], "group": self.groups[index]}
            label, said = self.classes[self.labels[index]], self.classes[self.predicted[index]]
            rows.append({**common, "label": label, "predicted": said, **dict(zip(self.classes, values))})
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
    first = several[0]
    mean = np.mean([one.probabilities for one in several], axis=0)
    about: dict[str, Any] = {"network": " + ".join(dict.fromkeys(one.name for one in several))}
    for key in ("parameters", "bytes", "latency_ms"):
        values = [one.about.get(key) for one in several]
        if all(value is not None for value in values):
            about[key] = sum(value for value in values if value is not None)
    return Answers(name, first.classes, first.files, first.groups, first.labels, mean, about)
