"""What a check is, what one found, and the list of all of them.

A check of one's own, which then runs beside the others::

    from lungcls.shortcuts import Check, register_check

    class Darkness(Check):
        name, number, title = "darkness", 11, "Darkened films"

        def run(self, trial, audit):
            darker = trial.answers([0.5 * film for film in trial.sample.pixels], trial.sample.masks)
            changed = float((darker.argmax(1) != trial.probabilities.argmax(1)).mean())
            return self.finding("pass" if changed < 0.05 else "fail", f"{changed:.0%} of the answers change")

    register_check(Darkness())
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lungcls.errors import DataError, OptionError
from lungcls.progress import Progress, Tell, quiet, silent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lungcls.explanation.boxes import FloatBox
    from lungcls.shortcuts.memory import Memory
    from lungcls.shortcuts.sample import Trial
    from lungcls.shortcuts.trainings import Trainings
    from lungcls.study.study import Study

Verdict: TypeAlias = Literal["pass", "fail", "cannot tell", "not applicable"]
Row: TypeAlias = dict[str, Any]

PASS: Final = "pass"
FAIL: Final = "fail"
UNTOLD: Final = "cannot tell"
NOT_APPLICABLE: Final = "not applicable"


class Told(NamedTuple):
    """What a question was answered with: all of a finding but its name, its title and its pictures."""

    verdict: Verdict
    because: str
    rows: list[Row]


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture for the page.

    Attributes
    ----------
    caption : str
    pixels : uint8 array [H, W] or [H, W, 3]
    """

    caption: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Finding:
    """What one check found of one model.

    Attributes
    ----------
    name, title : str
        Of the check.
    verdict : {"pass", "fail", "cannot tell", "not applicable"}
        The last where the model's region hides what the check tests.
    because : str
        Why, with the figures that decided.
    rows : list of dict
        ``figure``, what it is about, ``value, low, high, n``.
    pictures : list of Picture
    """

    name: str
    title: str
    verdict: Verdict
    because: str
    rows: list[Row] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the pictures, JSON-safe once nan are taken out."""
        return {
            "name": self.name,
            "title": self.title,
            "verdict": self.verdict,
            "because": self.because,
            "figures": self.rows,
        }


@dataclass(frozen=True, eq=False)
class Audit:
    """What checks are given beside the model and its films.

    Attributes
    ----------
    boxes : mapping of str to list of (x0, y0, x1, y1)
        Where radiologists saw something, by image file, in pixels of the image as it is stored.
    externals : mapping of str to Study
        Other collections, by name.
    trainings : Trainings or None
        None where no check may train.
    per_pair : int
        Composites of each pair of classes in check 1.
    films_per_change : int
        Films that the checks with many changes of each (6, I, J, M) are run on, drawn by class; 0 for all.
    progress : callable
    memory : Memory or None
        What models said of views before the checks.
    tell : callable
        Takes a line when a check is done: which, its verdict, how many films, how long it took.
    """

    boxes: Mapping[str, list[FloatBox]] = field(default_factory=dict)
    externals: Mapping[str, Study] = field(default_factory=dict)
    trainings: Trainings | None = None
    per_pair: int = 50
    films_per_change: int = 300
    progress: Progress[Any] = quiet
    memory: Memory | None = None
    tell: Tell = silent


class Check(ABC):
    """One check: what it is called, how it runs, and how its figures are drawn.

    Attributes
    ----------
    name : str
        In one word, for command line and results.
    number : int or str
        A number, or a letter for the checks of the second edition. Several checks of one question share one.
    letter : str
        Another name of the number, where a check of the second edition took the place of an older one.
    title : str
    needs_training : bool
        Whether it trains models of its own; it runs only where trainings are allowed then.
    costly : bool
        Whether it asks the model many times about each film; it is run on `films_per_change` films then.
    of_answers : bool
        Whether the model's answers (and features) are all it needs; `lungcls audit` asks it of predictions.
    limit : float or None
        Dashed line of the plot; None for no plot.
    plot_title : str
    """

    name: ClassVar[str]
    number: ClassVar[int | str]
    letter: ClassVar[str] = ""
    title: ClassVar[str]
    needs_training: ClassVar[bool] = False
    costly: ClassVar[bool] = False
    of_answers: ClassVar[bool] = False
    limit: ClassVar[float | None] = None
    plot_title: ClassVar[str] = ""

    @abstractmethod
    def run(self, trial: Trial, audit: Audit) -> Finding:
        """Examine a model.

        Parameters
        ----------
        trial : Trial
            The model and the films that it is examined on.
        audit : Audit
        """

    def dot(self, row: Row) -> str | None:
        """Name a figure in the plot; None leaves it out."""
        return str(row["figure"])

    def plot(self, rows: Sequence[Row]) -> Figure | None:
        """Draw the figures; None where a table shows them as well.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        from lungcls.shortcuts.plots import dots

        shown = [row for row in rows if row.get("value") is not None and self.dot(row) is not None]
        if self.limit is None or not shown:
            return None
        return dots(shown, [str(self.dot(row)) for row in shown], self.limit, self.plot_title)

    def finding(
        self,
        verdict: Verdict,
        because: str,
        rows: list[Row] | None = None,
        pictures: list[Picture] | None = None,
    ) -> Finding:
        """Return what was found."""
        title = f"{self.number}. {self.title}"
        return Finding(self.name, title, verdict, because, rows or [], pictures or [])

    def untold(
        self, because: str, rows: list[Row] | None = None, pictures: list[Picture] | None = None
    ) -> Finding:
        """Return that this data cannot tell."""
        return self.finding(UNTOLD, because, rows, pictures)

    def not_applicable(
        self, because: str, rows: list[Row] | None = None, pictures: list[Picture] | None = None
    ) -> Finding:
        """Return that the model's region hides what is tested."""
        return self.finding(NOT_APPLICABLE, because, rows, pictures)


_CHECKS: Final[dict[str, Check]] = {}

CHECKS: Final[Mapping[str, Check]] = MappingProxyType(_CHECKS)
"""The checks by name, in the order of their numbers and letters, those of :func:`register_check` included."""


def register_check(check: Check) -> None:
    """Make a check known by its name.

    Parameters
    ----------
    check : Check

    Raises
    ------
    OptionError
        If there is another check of this name.
    """
    if check.name in _CHECKS and type(_CHECKS[check.name]) is not type(check):
        raise OptionError(f"there is another check {check.name!r}; give yours a name of its own")
    _CHECKS[check.name] = check
    ordered = sorted(_CHECKS.items(), key=lambda item: (isinstance(item[1].number, str), item[1].number))
    _CHECKS.clear()
    _CHECKS.update(ordered)


def choose_checks(names: Iterable[str] = (), training: bool = False) -> list[Check]:
    """Return checks by name, number or letter, in the order of their numbers.

    Parameters
    ----------
    names : iterable of str
        Such as ``attention``, ``9`` or ``A``; none, or ``all``, for all. A number stands for all checks that
        share it.
    training : bool, default=False
        Whether checks may train. Those that need it are else only among the chosen ones where they are named,
        or where no other check has their number: they then say that they cannot tell.

    Raises
    ------
    DataError
        If one is unknown.
    """
    asked = {name.strip() for name in names} - {""}
    numbers = {str(check.number) for check in CHECKS.values()}
    letters = {check.letter: str(check.number) for check in CHECKS.values() if check.letter}
    wanted = set()
    for name in asked:
        short = letters.get(name.upper(), name.upper())
        wanted.add(short if short in numbers else name)
    if unknown := sorted(wanted - set(CHECKS) - numbers - {"all"}):
        known = ", ".join(f"{check.number} {name}" for name, check in CHECKS.items())
        raise DataError(f"unknown checks {', '.join(unknown)}; the checks are {known}")
    everything = not wanted or "all" in wanted
    plain = {check.number for check in CHECKS.values() if not check.needs_training}
    return [
        check
        for name, check in CHECKS.items()
        if name in wanted
        or (
            (everything or str(check.number) in wanted)
            and (training or not check.needs_training or check.number not in plain)
        )
    ]


def joined(verdicts: list[Verdict]) -> Verdict:
    """One verdict of several: one failure fails all, and only all passes pass.

    What is not applicable does not count, unless nothing else is there.
    """
    told = [verdict for verdict in verdicts if verdict != NOT_APPLICABLE]
    if FAIL in told:
        return FAIL
    if not told:
        return NOT_APPLICABLE if verdicts else UNTOLD
    return PASS if all(verdict == PASS for verdict in told) else UNTOLD
