"""Classes or masks of one's own: from a dataset to a calibrated model with its figures, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lungcls.cards import Card
from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset
from lungcls.data.splits import PARTS, Split
from lungcls.data.views import find_lungs
from lungcls.errors import DataError, OptionError
from lungcls.evaluation.evaluate import evaluate, segmentation_on
from lungcls.evaluation.results import write_results
from lungcls.finder import Finder
from lungcls.gate.screening import Gate
from lungcls.recipes import Recipe, load_recipe
from lungcls.regions import Region
from lungcls.segmenter import Segmenter
from lungcls.study.context import RunContext
from lungcls.study.findings import ask_findings
from lungcls.study.folder import claim
from lungcls.study.provenance import provenance
from lungcls.study.study import Study
from lungcls.training.data import TrainingData
from lungcls.training.probe import probe
from lungcls.training.train import label_hash, network_architecture, run_split, train
from lungcls.weights import card_for, load_card

_PROBE: Final = "frozen-features"
_MOST_CLASSES: Final = 50


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning made.

    Attributes
    ----------
    weights : Path
        The ``.safetensors`` file, with its card beside it.
    frozen : Path or None
        A classifier of the features as they were, with a linear head; None for a segmenter.
    split : Split
    rows : list of dict
        Figures on the test part: ``model, metric``, class or finding, ``value, low, high``.
    payload : dict
        The same with all that reproduces it, JSON-safe; in ``test.json`` of the run's folder.
    """

    weights: Path
    frozen: Path | None
    split: Split
    rows: list[dict[str, Any]]
    payload: dict[str, Any]

    @property
    def best(self) -> Path:
        """The classifier with the lower Brier score on the validation part; the segmenter."""
        if self.frozen is None or _brier(self.weights) <= _brier(self.frozen):
            return self.weights
        return self.frozen


def finetune(
    dataset: Dataset,
    out: str | Path,
    *,
    start: str | Path = "",
    task: str = "classification",
    split: Split | None = None,
    segmenter: str | Path = "segmenter",
    gate: str | Path | Gate | None = "gate",
    name: str = "",
    seed: int = 0,
    epochs: int | None = None,
    n_resamples: int = 2000,
    context: RunContext | None = None,
) -> Finetuned:
    """Fine-tune a released network on one's own classes, findings or masks.

    A classifier: a linear model of the frozen features first, then the last block, until the loss on the
    validation part no longer falls. Temperature (or slope and intercept of each finding) and conformal scores
    are fitted on the validation part, figures are measured on the test part.

    Parameters
    ----------
    dataset : Dataset
        With two to fifty classes, findings (``dataset.multilabel``), or lung masks.
    out : path-like
        Folder of the run; the same call goes on after a kill.
    start : str or path-like, optional
        Weights to start from; ``classifier-mask`` or ``segmenter`` if left out. Its card says what is seen.
    task : {"classification", "segmentation"}
    split : Split, optional
        By default 70/15/15 by class and source; patients and near duplicates stay together.
    segmenter, gate
        What finds and judges the lungs, of a classifier.
    name : str, optional
        Of the weights; ``finetuned`` or ``finetuned-segmenter`` if left out.
    seed : int
        Of split and training.
    epochs : int, optional
        Cuts each stage of the schedule, for a trial.
    n_resamples : int
        Of the bootstrap by group, on the test part.
    context : RunContext, optional

    Returns
    -------
    Finetuned

    Raises
    ------
    DataError
        If there are too few films of a class in a part, more than fifty classes, or no masks.
    OptionError
        If the task is unknown, or `start` is made for another.
    RecipeError
        If `out` holds another run.
    """
    out, context = Path(out), context or RunContext()
    context = replace(context, cache=context.cache or out)
    if task == "segmentation":
        return _segmenter(dataset, out, str(start or "segmenter"), split, gate, name, seed, epochs, context)
    if task != "classification":
        raise OptionError(f"task is {task!r}; expected 'classification' or 'segmentation'")
    _check_classes(dataset)
    card = card_for(start or "classifier-mask", task)
    recipe = finetune_recipe(
        card, str(start or "classifier-mask"), dataset, name=name, seed=seed, segmenter=str(segmenter)
    )
    recipe = recipe if epochs is None else recipe.cut(epochs)
    split = split or run_split(dataset, out, seed)
    check_parts(dataset, split)
    labels = label_hash(dataset)
    claim(
        out / _PROBE / "recipe.json", "a run", recipe=recipe.to_dict(), split_hash=split.hash, labels=labels
    )
    frozen = out / _PROBE / f"{recipe.name}.safetensors"
    if not (frozen.is_file() and frozen.with_suffix(".json").is_file()):
        data = TrainingData(recipe, dataset, split, {}, None, gate, context)
        data.counts()
        frozen = probe(data, network_architecture(recipe, data.classes), out / _PROBE)
    weights = train(
        replace(recipe, init=_PROBE),
        dataset,
        out,
        split=split,
        gate=gate,
        earlier={_PROBE: frozen},
        context=context,
    )
    finder = Finder.load(segmenter if recipe.needs_masks else None, gate, context.device)
    study = Study.open(
        dataset,
        finder,
        split=split,
        part="test",
        cache=context.cache,
        seed=seed,
        n_resamples=n_resamples,
        progress=context.progress,
    )
    measure = _measure_findings if dataset.multilabel else _measure_classes
    rows, payload = measure(study, {"finetuned": weights, "frozen features": frozen}, context)
    write_results(out, "test", rows, payload)
    return Finetuned(weights, frozen, split, rows, payload)


def finetune_recipe(
    start: Card, init: str, dataset: Dataset, *, name: str = "", seed: int = 0, segmenter: str = "segmenter"
) -> Recipe:
    """Return the recipe ``finetune`` for the network, size and region of weights to start from."""
    recipe = load_recipe("finetune")
    architecture = {
        key: value for key, value in start.architecture.items() if key not in ("classes", "pretrained")
    }
    if dataset.multilabel:
        recipe = replace(recipe, loss="bce", label_smoothing=0.0, balance="none")
    return replace(
        recipe,
        name=name or "finetuned",
        model=architecture,
        init=init,
        input_size=start.input_size,
        stages=tuple(replace(stage, size=start.input_size) for stage in recipe.stages),
        region=Region(**(start.region or {})),
        mean=start.mean,
        std=start.std,
        tone=start.tone,
        segmenter=segmenter,
        seed=seed,
        split_seed=seed,
    )


def check_parts(dataset: Dataset, split: Split) -> None:
    """Refuse a split in which a class or finding is missing from a part; DataError names all that are."""
    absent = []
    for part in PARTS:
        records = split.select(dataset.records, part)
        present = {name for record in records for name in record.findings or (record.label,)}
        absent += [f"{name} ({part})" for name in dataset.classes if name not in present]
    if absent:
        raise DataError(
            f"{dataset.root}: no film of {', '.join(absent)}. Each class needs films of several patients in "
            "training, validation and test, about 20 in all: add some, merge classes with --classes, or give "
            "a split of your own with --split"
        )


def _brier(weights: Path) -> float:
    return float(load_card(weights).metrics["validation"]["overall"]["brier"]["value"])


def _check_classes(dataset: Dataset) -> None:
    if not dataset.classes:
        raise DataError(
            f"{dataset.root} (layout {dataset.layout}) has no classes; for masks give --task segmentation"
        )
    if len(dataset.classes) > _MOST_CLASSES:
        raise DataError(
            f"{dataset.root}: {len(dataset.classes)} classes; this takes two to {_MOST_CLASSES}. Are the "
            "folders patients? Merge classes with --classes"
        )


def _measure_classes(
    study: Study, models: Mapping[str, Path], context: RunContext
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    payload: dict[str, Any] = {}
    for model, path in models.items():
        evaluation = evaluate(study, None, [Classifier.load(path, context.device)], context.progress)
        rows += [{**row, "model": model} for row in evaluation.rows if row["model"] != "gate"]
        reports = {**payload.get("reports", {}), model: next(iter(evaluation.payload["reports"].values()))}
        weights = {**payload.get("weights", {}), model: next(iter(evaluation.payload["weights"].values()))}
        payload = {**evaluation.payload, "reports": reports, "weights": weights}
    return rows, payload


def _measure_findings(
    study: Study, models: Mapping[str, Path], context: RunContext
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    reports, weights = {}, {}
    classifiers = {model: Classifier.load(path, context.device) for model, path in models.items()}
    for model, classifier in classifiers.items():
        report = ask_findings(study, classifier, context.progress).report()
        rows += [{"model": model, **row} for row in report.to_rows()]
        reports[model], weights[model] = report.to_dict(), classifier.card.sha256
    first = next(iter(classifiers.values()))
    origin = provenance((), study.split, first.device)
    return rows, {**study.about(), **origin, "weights": weights, "reports": reports}


def _segmenter(
    dataset: Dataset,
    out: Path,
    start: str,
    split: Split | None,
    gate: str | Path | Gate | None,
    name: str,
    seed: int,
    epochs: int | None,
    context: RunContext,
) -> Finetuned:
    card = card_for(start, "segmentation")
    drawn = dataset.only([record for record in dataset.records if record.mask])
    if not len(drawn):
        raise DataError(
            f"{dataset.root}: no film has a lung mask; draw some with `lungcls masks review {dataset.root}`"
        )
    recipe = load_recipe("finetune-segmenter")
    size = card.input_size
    recipe = replace(
        recipe,
        name=name or "finetuned-segmenter",
        model={key: value for key, value in card.architecture.items() if key != "pretrained"},
        init=start,
        input_size=size,
        stages=tuple(replace(stage, size=size) for stage in recipe.stages),
        mean=card.mean,
        std=card.std,
        tone=card.tone,
        seed=seed,
        split_seed=seed,
    )
    recipe = recipe if epochs is None else recipe.cut(epochs)
    split = split or run_split(drawn, out, seed)
    weights = train(recipe, drawn, out, split=split, gate=gate, context=context)
    rows: list[dict[str, Any]] = []
    reports, hashes = {}, {}
    records = split.select(drawn.records, "test")
    for model, path in (("finetuned", weights), ("before", start)):
        segmenter = Segmenter.load(path, context.device)
        lungs = find_lungs(
            drawn,
            records,
            Finder.load(segmenter, gate, context.device),
            context.cache,
            progress=context.progress,
        )
        study = Study(drawn, records, lungs, split, "test", seed)
        report = segmentation_on(study, context.progress)
        rows += [{"model": model, **row} for row in report.to_rows()]
        reports[model], hashes[model] = report.to_dict(), segmenter.card.sha256
    origin = provenance((), split, segmenter.device)
    payload = {**study.about(), **origin, "weights": hashes, "reports": reports}
    write_results(out, "test", rows, payload)
    return Finetuned(weights, None, split, rows, payload)
