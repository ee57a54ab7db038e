"""Two sets of films compared: whether the second is unlike the first, and in what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp

from lungcls.drift.reference import MIN_FILMS, FilmStatistics
from lungcls.drift.statistics import GEOMETRY, TONE
from lungcls.errors import DataError
from lungcls.evaluation.bootstrap import finite
from lungcls.evaluation.paired import holm

Floats = NDArray[np.float64]
Kind: TypeAlias = Literal["none", "mix of classes", "films", "cannot tell"]

LEVEL: Final = 0.05
"""Chance of an alarm where there is no drift, all tests together (Holm)."""

PERMUTATIONS: Final = 999
_LARGEST: Final = 300  # films of either side in the energy test: its cost grows with the square
_DRAWS: Final = 100
_DIGITS: Final = (
    4  # grey levels come in steps of 1/255: kept at another precision, all of them would have moved
)


@dataclass(frozen=True, eq=False)
class Drift:
    """What :func:`compare` found.

    Attributes
    ----------
    kind : {"none", "mix of classes", "films", "cannot tell"}
        ``mix of classes``: only their shares differ, and films of a class are as they were. ``films``: the
        films are otherwise, whatever the shares.
    because : str
    tests : list of dict
        ``test, about, statistic, p, p_holm``: Kolmogorov and Smirnov's of each class's probability (the BBSD
        of Lipton and of Rabanser), of each number of tone and geometry, and the energy distance of all.
    beyond_mix : list of dict
        The same against the reference in the new mix of classes; empty where nothing was found, or its
        labels are not known.
    prevalence : list of dict
        ``class, reference, new, low, high``: shares of the classes, estimated for the new films.
    reference, new : int
        Films of either.
    about : mapping
        Of the reference.
    """

    kind: Kind
    because: str
    tests: list[dict[str, Any]]
    beyond_mix: list[dict[str, Any]]
    prevalence: list[dict[str, Any]]
    reference: int
    new: int
    about: Mapping[str, Any]

    @property
    def promised(self) -> bool:
        """Whether tiers and sets keep what they promise, as far as can be told.

        Sets are calibrated class by class, so that a mere change of the mix would leave them as they are; but
        that nothing else was found is no proof that there is nothing else.
        """
        return self.kind in ("none", "cannot tell")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-safe values."""
        return {
            "kind": self.kind,
            "because": self.because,
            "promised": self.promised,
            "tests": self.tests,
            "beyond_mix": self.beyond_mix,
            "prevalence": self.prevalence,
            "reference_films": self.reference,
            "new_films": self.new,
            "reference": dict(self.about),
        }


def compare(reference: FilmStatistics, new: FilmStatistics, *, seed: int = 0) -> Drift:
    """Ask whether new films are unlike those of a reference, and in what.

    Parameters
    ----------
    reference, new : FilmStatistics
        Answered by the same classifier.
    seed : int, default=0
        Of permutations and draws.

    Returns
    -------
    Drift
        An alarm is a test whose p value is below 0.05 after Holm's correction over all of them.

    Raises
    ------
    DataError
        If the classes differ.

    Notes
    -----
    Where the labels of the reference are known, the new shares of its classes are estimated (BBSE), films of
    the reference are drawn in these shares, and all tests are made again: what is left is no mere change of
    shares. That holds for any cause that leaves films of a class as they were, which no test of unlabelled
    films can prove.

    References
    ----------
    Lipton, Wang, Smola (2018), Detecting and correcting for label shift with black box predictors, ICML.
    Rabanser, Guennemann, Lipton (2019), Failing loudly: an empirical study of methods for detecting dataset
    shift, NeurIPS.
    Szekely, Rizzo (2004), Testing for equal distributions in high dimension, InterStat 5.
    Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6(2), 65-70.
    """
    if reference.classes != new.classes:
        raise DataError(
            f"the reference has the classes {', '.join(reference.classes)}, the new films "
            f"{', '.join(new.classes)}; compare answers of one classifier"
        )
    rng = np.random.default_rng(seed)
    prevalence = estimated_prevalence(reference, new, rng)
    sizes = (len(reference), len(new))
    if min(sizes) < MIN_FILMS:
        why = f"{min(sizes)} films; at least {MIN_FILMS} are needed to tell"
        return Drift("cannot tell", why, [], [], prevalence, *sizes, reference.about)
    tests = _tests(reference, new, rng)
    alarms = _alarms(tests)
    if not alarms:
        why = f"no test finds the {len(new)} films unlike the {len(reference)} of the reference"
        return Drift("none", why, tests, [], prevalence, *sizes, reference.about)
    beyond: list[dict[str, Any]] = []
    if prevalence and reference.labels is not None:
        mixed = _in_mix(reference, [row["new"] for row in prevalence], rng)
        if len(mixed) < MIN_FILMS:
            why = (
                f"the films or the shares of their classes differ ({_shares(prevalence)}); the reference has "
                "too few of these classes to tell which"
            )
            return Drift("films", why, tests, [], prevalence, *sizes, reference.about)
        beyond = _tests(mixed, new, rng)
        left = _alarms(beyond)
        if not left:
            why = f"the shares of the classes differ ({_shares(prevalence)}), and nothing else is found"
            return Drift("mix of classes", why, tests, beyond, prevalence, *sizes, reference.about)
        alarms = left
    names = [name for name in dict.fromkeys(alarms) if name != "all"]
    what = f"differ in {', '.join(names[:6])}" if names else "differ as a whole, in no one number"
    if len(names) > 6:
        what += f" and {len(names) - 6} more"
    why = f"the films {what}" + (", whatever the shares of the classes" if beyond else "")
    return Drift("films", why, tests, beyond, prevalence, *sizes, reference.about)


def estimated_prevalence(
    reference: FilmStatistics, new: FilmStatistics, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Estimate the shares of the classes among new films by BBSE; [] where labels are not known.

    Parameters
    ----------
    reference, new : FilmStatistics
    rng : numpy.random.Generator
        Of the bootstrap, over the films of both, that gives the intervals.
    """
    labels = reference.labels
    if labels is None:
        return []
    present = np.unique(labels)
    own = np.bincount(labels, minlength=len(reference.classes)) / len(labels)

    def estimate(at: NDArray[np.int64], new_at: NDArray[np.int64]) -> Floats:
        # The shares that mix the mean answers to each class into the mean answer to the new films.
        truth = labels[at]
        means = [
            reference.probabilities[at][truth == k].mean(axis=0)
            if (truth == k).any()
            else reference.probabilities[labels == k].mean(axis=0)
            for k in present
        ]
        weights, _ = nnls(np.stack(means, axis=1), new.probabilities[new_at].mean(axis=0))
        shares = np.zeros(len(reference.classes))
        shares[present] = weights / max(weights.sum(), np.finfo(np.float64).tiny)
        return shares

    value = estimate(np.arange(len(reference)), np.arange(len(new)))
    drawn = np.stack(
        [
            estimate(rng.integers(len(reference), size=len(reference)), rng.integers(len(new), size=len(new)))
            for _ in range(_DRAWS)
        ]
    )
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [
        {"class": name, "reference": float(own[k]), "new": float(value[k])}
        | {"low": float(low[k]), "high": float(high[k])}
        for k, name in enumerate(reference.classes)
    ]


def energy_test(first: Floats, second: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Return the energy distance of two samples [n, d] and [m, d], and its p value by permutation."""
    n, total = len(first), len(first) + len(second)
    both = np.concatenate([first, second])
    distances = cdist(both, both).astype(np.float32)
    chosen = np.zeros((total, PERMUTATIONS + 1), np.float32)
    chosen[:n, 0] = 1
    for column in range(1, PERMUTATIONS + 1):
        chosen[rng.permutation(total)[:n], column] = 1
    towards = distances @ chosen  # summed distance of each film to the first sample
    within = (chosen * towards).sum(axis=0)
    between = ((1 - chosen) * towards).sum(axis=0)
    rest = distances.sum(dtype=np.float64) - within - 2 * between
    m = total - n
    values = 2 * between / (n * m) - within / n**2 - rest / m**2
    return float(values[0]), float(np.count_nonzero(values >= values[0]) / (PERMUTATIONS + 1))


def _tests(reference: FilmStatistics, new: FilmStatistics, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for k, name in enumerate(reference.classes):
        test = ks_2samp(*(side.probabilities[:, k].round(_DIGITS) for side in (reference, new)))
        rows.append(_row("answers", f"probability of {name}", test.statistic, test.pvalue))
    for name in (*TONE, *GEOMETRY):
        if name not in reference.numbers or name not in new.numbers:
            continue
        one, two = (side.numbers[name].round(_DIGITS) for side in (reference, new))
        one, two = one[np.isfinite(one)], two[np.isfinite(two)]
        if min(len(one), len(two)) >= MIN_FILMS:
            test = ks_2samp(one, two)
            kind = "tone" if name in TONE else "geometry"
            rows.append(_row(kind, name, test.statistic, test.pvalue))
    one, two = _scaled(reference, new)
    one = one[rng.permutation(len(one))[:_LARGEST]]
    two = two[rng.permutation(len(two))[:_LARGEST]]
    rows.append(_row("energy distance", "all", *energy_test(one, two, rng)))
    for row, p in zip(rows, holm([row["p"] for row in rows])):
        row["p_holm"] = p
    return rows


def _row(test: str, about: str, statistic: float, p: float) -> dict[str, Any]:
    return {"test": test, "about": about, "statistic": finite(statistic), "p": float(p)}


def _alarms(tests: list[dict[str, Any]]) -> list[str]:
    ordered = sorted(tests, key=lambda row: row["p"])
    return [row["about"] for row in ordered if row["p_holm"] < LEVEL]


def _scaled(reference: FilmStatistics, new: FilmStatistics) -> tuple[Floats, Floats]:
    """All numbers of both, in standard deviations of the reference; what a film lacks is its mean."""
    sides = []
    names = [name for name in (*TONE, *GEOMETRY) if name in reference.numbers and name in new.numbers]
    own = np.column_stack([reference.probabilities, *(reference.numbers[name] for name in names)])
    centre = np.nanmean(own, axis=0)
    spread = np.maximum(np.nanstd(own, axis=0), 1e-6)
    for side in (reference, new):
        values = np.column_stack([side.probabilities, *(side.numbers[name] for name in names)])
        sides.append(np.nan_to_num((values - centre) / spread, nan=0.0))
    return sides[0], sides[1]


def _in_mix(reference: FilmStatistics, shares: list[float], rng: np.random.Generator) -> FilmStatistics:
    """Draw films of the reference without replacement, as many as there are in these shares."""
    assert reference.labels is not None
    by_class = [np.flatnonzero(reference.labels == k) for k in range(len(reference.classes))]
    total = min((len(at) / share for at, share in zip(by_class, shares) if share > 0), default=0.0)
    chosen = [
        rng.permutation(at)[: math.floor(total * share)] for at, share in zip(by_class, shares) if share > 0
    ]
    return reference.of(np.concatenate(chosen).astype(np.int64))


def _shares(prevalence: list[dict[str, Any]]) -> str:
    return ", ".join(f"{row['class']} {row['reference']:.0%} to {row['new']:.0%}" for row in prevalence)
