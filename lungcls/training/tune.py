"""A search for better values of a recipe, scored on the validation part alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from lungcls.data.dataset import Dataset
from lungcls.data.splits import Split
from lungcls.errors import MissingExtraError
from lungcls.evaluation.results import write_csv
from lungcls.files import write_text
from lungcls.gate.screening import Gate
from lungcls.recipes import Recipe
from lungcls.recipes.space import Space, changed, check_space, default_space
from lungcls.study.context import RunContext
from lungcls.study.folder import claim
from lungcls.training.train import run_split, train
from lungcls.weights import load_card

if TYPE_CHECKING:
    import optuna

SCORES: Final = {"segmentation": "dice_mean", "classification": "macro_f1"}
_MONITORS: Final = {"segmentation": "validation_dice", "classification": "validation_macro_f1"}


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes
    ----------
    recipe : Recipe
        With the best values.
    weights : Path
        Of the best trial.
    score : float
        Macro-F1 (mean Dice for a segmenter) of these weights on the validation part.
    values : dict
        The best values, by key.
    """

    recipe: Recipe
    weights: Path
    score: float
    values: dict[str, Any]


def tune(
    recipe: Recipe,
    database: Dataset,
    out: str | Path,
    *,
    trials: int = 20,
    space: Space | None = None,
    split: Split | None = None,
    gate: str | Path | Gate | None = "gate",
    prune: bool = True,
    context: RunContext | None = None,
    on_trial: Callable[[dict[str, Any]], None] | None = None,
) -> Tuned:
    """Search, or go on with the search that a killed call began.

    Parameters
    ----------
    recipe : Recipe
    database : Dataset
    out : path-like
        Gets ``study.db`` (Optuna's own storage), a run's folder a trial, ``trials.csv`` and ``best.toml``.
    trials : int, default=20
        In all, those of earlier calls included. A trial that was killed is run again from its last epoch.
    space : Space, optional
        By default :func:`lungcls.recipes.space.default_space`.
    split : Split, optional
        Its test part is never read.
    gate : str, path-like, Gate or None
        That judges and corrects the films; None for none.
    prune : bool, default=True
        Stop a trial whose score is below the median of the others at the same epoch.
    context : RunContext, optional
        Where and how to run; its ``cache`` is `out` by default.
    on_trial : callable, optional
        Called with a row of ``trials.csv`` after each trial.

    Returns
    -------
    Tuned

    Raises
    ------
    RecipeError
        If `out` holds a search over another recipe, space or split, or the space does not fit the recipe.
    MissingExtraError
        If Optuna is not installed.

    References
    ----------
    Akiba et al.: Optuna: A Next-generation Hyperparameter Optimization Framework, 2019.
    """
    try:
        import optuna
        import tomli_w
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "optuna", "tune", "a search over a recipe") from error
    out = Path(out)
    space = space or default_space(recipe)
    check_space(space)
    split = split or run_split(database, out, recipe.split_seed)
    claim(out / "search.json", "a search", recipe=recipe.to_dict(), space=space, split_hash=split.hash)
    if not (out / "split.csv").is_file():
        split.write_csv(out / "split.csv")
    study = _study(recipe, space, out)
    context = context or RunContext()
    context = replace(context, cache=context.cache or out)

    def objective(trial: optuna.Trial) -> float:
        chosen = changed(recipe, {key: _suggest(trial, key, item) for key, item in space.items()})
        trial.set_user_attr("folder", folder := _folder(chosen))
        path = train(
            chosen,
            database,
            out / folder,
            split=split,
            gate=gate,
            context=context,
            callbacks=[_Pruning(trial, _MONITORS[recipe.task])] if prune else [],
        )
        return _score(path, recipe.task)

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        rows = [_row(one) for one in study.trials if one.state.is_finished()]
        write_csv(out, "trials", rows)
        if on_trial is not None:
            on_trial(_row(trial))

    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    while (missing := trials - len(study.get_trials(deepcopy=False, states=states))) > 0:
        study.optimize(objective, n_trials=missing, callbacks=[tell])
    best = study.best_trial
    best_recipe = changed(recipe, best.params)
    write_text(out / "best.toml", tomli_w.dumps(_plain(best_recipe.to_dict())))
    weights = out / best.user_attrs["folder"] / f"{recipe.name}.safetensors"
    return Tuned(best_recipe, weights, float(study.best_value), dict(best.params))


class _Pruning(Callback):
    """Tells Optuna the score of each epoch and ends a trial that it gives up."""

    def __init__(self, trial: optuna.Trial, monitor: str) -> None:
        self.trial = trial
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        import optuna

        self.trial.report(float(trainer.callback_metrics[self.monitor]), trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def _study(recipe: Recipe, space: Space, out: Path) -> optuna.Study:
    """Open the study of a folder; trials that were killed are queued again."""
    import optuna

    out.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{(out / 'study.db').resolve().as_posix()}"
    study = optuna.create_study(
        storage=url, study_name="lungcls", load_if_exists=True, direction="maximize", pruner=_pruner()
    )
    # Another seed a call: the same one would draw the first trials once more.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials))
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if len(trial.params) == len(space):
            study.enqueue_trial(trial.params)
    return study


def _pruner() -> optuna.pruners.BasePruner:
    import optuna

    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)


def _suggest(trial: optuna.Trial, key: str, item: dict[str, Any]) -> Any:
    if "choices" in item:
        return trial.suggest_categorical(key, item["choices"])
    low, high, log = item["low"], item["high"], bool(item.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=log, step=int(item.get("step", 1)))
    return trial.suggest_float(key, low, high, log=log, step=item.get("step"))


def _folder(recipe: Recipe) -> str:
    """Name a trial's folder after its recipe, so that the same values find the same run."""
    text = json.dumps({**recipe.to_dict(), "description": ""}, sort_keys=True)
    return f"trial-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _score(path: Path, task: str) -> float:
    return float(load_card(path).metrics["validation"]["overall"][SCORES[task]]["value"])


def _row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "validation_score": trial.value,
        **trial.params,
        "folder": trial.user_attrs.get("folder", ""),
    }


def _plain(values: Any) -> Any:
    """Leave out what TOML cannot say: None."""
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items() if value is not None}
    return [_plain(value) for value in values] if isinstance(values, (list, tuple)) else values
