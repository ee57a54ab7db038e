"""What the user calls a run: a folder of `lungcls train`, a weight file, or a released name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lungcls.data.splits import Split
from lungcls.errors import DataError
from lungcls.weights import find_weights, load_card


@dataclass(frozen=True, slots=True)
class Run:
    """One model to report on.

    Attributes
    ----------
    name : str
        Also of its folder in the report.
    weights : Path or None
        None for a run that is not finished.
    history : Path or None
        ``history.csv`` of the run, where there is one.
    split : Path or None
        ``split.csv`` of the run.
    """

    name: str
    weights: Path | None
    history: Path | None = None
    split: Path | None = None


def find_runs(names: Sequence[str | Path]) -> list[Run]:
    """Find the files of runs.

    Parameters
    ----------
    names : sequence of str or path-like
        Folders of `lungcls train`, paths of weight files, or released names.

    Returns
    -------
    list of Run
        Runs that would have one name are named after their folders too.

    Raises
    ------
    DataError
        If a folder is none of a run.
    WeightsError
        If there is no such weight file.
    """
    runs = [(Path(name), _find(name)) for name in names]
    uses = Counter(run.name for _, run in runs)
    named = [
        run if uses[run.name] == 1 else replace(run, name=f"{run.name} ({_folder(path)})")
        for path, run in runs
    ]
    if len({run.name for run in named}) < len(named):
        raise DataError("a run is named twice; give each once")
    return named


def common_split(runs: Sequence[Run]) -> Split | None:
    """Return the split that all runs with a folder were made with; None if no run has a folder.

    Raises
    ------
    DataError
        If they were made with different ones.
    """
    splits = [Split.read_csv(run.split) for run in runs if run.split is not None]
    if len({split.hash for split in splits}) > 1:
        raise DataError(
            "the runs were trained with different splits: the test images of one may have trained another; "
            "train them with one `--split`"
        )
    return splits[0] if splits else None


def _find(name: str | Path) -> Run:
    path = Path(name)
    if not path.is_dir():
        weights = find_weights(name)
        beside = {key: weights.parent / f"{key}.csv" for key in ("history", "split")}
        files = {key: file if file.is_file() else None for key, file in beside.items()}
        return Run(load_card(name).name, weights, files["history"], files["split"])
    stated = path / "recipe.json"
    if not stated.is_file():
        raise DataError(f"{path}: no run of `lungcls train` (its recipe.json is missing)")
    model = str(json.loads(stated.read_text(encoding="utf-8"))["recipe"]["name"])
    history, weights, split = path / "history.csv", path / f"{model}.safetensors", path / "split.csv"
    finished = weights.is_file() and weights.with_suffix(".json").is_file()
    return Run(
        model,
        weights if finished else None,
        history if history.is_file() else None,
        split if split.is_file() else None,
    )


def _folder(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.resolve().parent.name
