"""The numbers of many films in one small file, to compare others with."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lungcls.drift.statistics import as_columns, film_statistics
from lungcls.errors import DataError, WeightsError
from lungcls.files import atomic_write
from lungcls.prediction import Failure, Prediction
from lungcls.weights import find_weights

SUFFIX: Final = ".reference.npz"
"""Of the file beside a classifier's weights: ``classifier-mask.reference.npz``."""

FORMAT: Final = 1

MIN_FILMS: Final = 30
"""Fewer new films than this are not judged."""


@dataclass(frozen=True, eq=False)
class FilmStatistics:
    """What a classifier answers on some films, and the films' tone and geometry by name.

    Attributes
    ----------
    classes : tuple of str, length K
    probabilities : float64 array [N, K]
        Calibrated.
    numbers : dict of str to float64 array [N]
        As :func:`lungcls.drift.statistics.film_statistics` names them; nan where a film has none.
    labels : int64 array [N] or None
        Index of the true class; None where it is not known.
    about : dict
        Whose films they are, by which weights, JSON-safe.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    numbers: dict[str, NDArray[np.float64]]
    labels: NDArray[np.int64] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.probabilities)

    def of(self, chosen: NDArray[np.int64]) -> FilmStatistics:
        """Return the statistics of some of the films."""
        return FilmStatistics(
            self.classes,
            self.probabilities[chosen],
            {name: values[chosen] for name, values in self.numbers.items()},
            None if self.labels is None else self.labels[chosen],
            self.about,
        )

    def save(self, path: str | Path) -> Path:
        """Write them as ``.npz``: no pixel, no name of a film."""
        meta = {"format": FORMAT, "classes": list(self.classes), "about": dict(self.about)}
        arrays = {f"number_{name}": values.astype(np.float32) for name, values in self.numbers.items()}
        if self.labels is not None:
            arrays["labels"] = self.labels.astype(np.int16)
        with atomic_write(path) as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
                probabilities=self.probabilities.astype(np.float32),
                **arrays,
            )
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> FilmStatistics:
        """Read what :meth:`save` wrote.

        Raises
        ------
        DataError
            If the file cannot be read or is none.
        """
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                meta = json.loads(stored["meta"].tobytes())
                prefix = "number_"
                names = [name for name in stored.files if name.startswith(prefix)]
                statistics = cls(
                    tuple(meta["classes"]),
                    stored["probabilities"].astype(np.float64),
                    {name[len(prefix) :]: stored[name].astype(np.float64) for name in names},
                    stored["labels"].astype(np.int64) if "labels" in stored.files else None,
                    meta["about"],
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path}: no reference statistics ({error}); make them with `lungcls drift DIR --save FILE`"
            ) from error
        if meta.get("format") != FORMAT:
            raise DataError(f"{path}: of format {meta.get('format')}, expected {FORMAT}; make the file anew")
        return statistics


def beside(name: str | Path) -> Path | None:
    """Return the reference statistics beside a classifier's weights; None where there are none.

    Parameters
    ----------
    name : str or path-like
        As :func:`lungcls.weights.find_weights` takes it.
    """
    try:
        path = find_weights(name)
    except WeightsError:
        return None
    path = path.with_name(path.name.removesuffix(path.suffix) + SUFFIX)
    return path if path.is_file() else None


def collect(
    predictions: Iterable[Prediction | Failure],
    classes: Sequence[str],
    label_of: Callable[[str], str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> tuple[FilmStatistics, list[Failure]]:
    """Take the numbers of films as they are predicted.

    Parameters
    ----------
    predictions : iterable of Prediction or Failure
    classes : sequence of str
        Of the classifier.
    label_of : callable, optional
        True class by the path of a film.
    about : mapping, optional
        For the record.

    Returns
    -------
    statistics : FilmStatistics
        Of the films that get a label: no answer is given for others.
    failures : list of Failure

    Raises
    ------
    DataError
        If no film is left, or one is of a class that the classifier does not know.
    """
    rows: list[Mapping[str, float]] = []
    probabilities, labels, failures = [], [], []
    for one in predictions:
        if isinstance(one, Failure):
            failures.append(one)
            continue
        if one.label is None:
            continue
        rows.append(film_statistics(one))
        probabilities.append([one.probabilities[name] for name in classes])
        if label_of is not None:
            name = label_of(one.path)
            if name not in classes:
                raise DataError(f"{one.path} is of the class {name!r}; expected one of {', '.join(classes)}")
            labels.append(list(classes).index(name))
    if not rows:
        raise DataError("no film could be read and answered: there is nothing to compare")
    labelled = np.asarray(labels, np.int64) if label_of is not None else None
    return FilmStatistics(
        tuple(classes), np.asarray(probabilities), as_columns(rows), labelled, dict(about or {})
    ), failures
