"""The checks that need trainings of their own: 4, and the trained halves of 5 and 8.

They examine a training on this data in this region, with a small recipe, and not the weights that are given:
a question about data can only be answered by training on other data.
"""

from __future__ import annotations

import copy
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split, make_split
from lungcls.evaluation.weighted import difference, macro_auroc, macro_f1, share
from lungcls.lungs import Lungs
from lungcls.progress import Progress, quiet
from lungcls.recipes import Recipe
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Check, Verdict, joined, untold
from lungcls.shortcuts.external import independent_difference
from lungcls.shortcuts.processing import PLAIN
from lungcls.shortcuts.sample import Trial, interval, read_sample
from lungcls.shortcuts.subject import ClassifierSubject

LEFT_OUT = ("leave_one_source_out", "4. Recall on a source that was left out of the training")
UNGROUPED = ("leakage_trained", "5. The same training on a split that tears near duplicates apart")
SHUFFLED = ("label_shuffle", "8. A training on shuffled labels")
PLAIN_ONLY = ("processing_trained", "8. A training on the processings a and b only")


@dataclass(frozen=True)
class Trainings:
    """Trainings that differ from one common one in a single thing.

    Attributes
    ----------
    recipe : Recipe
        Its region is the examined model's.
    database : Dataset
    split : Split
    lungs : mapping of str to Lungs
        Of all images.
    out : Path
        A folder a training; finished ones are not run again.
    device : str
    workers : int
    progress : callable
    """

    recipe: Recipe
    database: Dataset
    split: Split
    lungs: Mapping[str, Lungs]
    out: Path
    device: str = "auto"
    workers: int = 1
    progress: Progress[Any] = quiet

    def subject(
        self, name: str, records: Sequence[Record] | None = None, split: Split | None = None
    ) -> ClassifierSubject:
        """Train on other records or another split, or load what was trained before.

        Raises
        ------
        RecipeError
            If the folder holds a training of another recipe or split.
        """
        from lungcls.training import train

        database = copy.copy(self.database)
        database.records = list(self.database.records if records is None else records)
        chosen = self.split if split is None else split
        files = {record.file for record in database.records}
        chosen = Split(
            {file: part for file, part in chosen.parts.items() if file in files},
            {file: group for file, group in chosen.groups.items() if file in files},
        )
        folder = self.out / name
        weights = train(
            replace(self.recipe, name=name),
            database,
            folder,
            split=chosen,
            lungs=self.lungs,
            device=self.device,
            workers=self.workers,
            progress=self.progress,
        )
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return ClassifierSubject(Classifier.load(weights, self.device, engine="torch"))


def train_checks(trial: Trial, trainings: Trainings) -> list[Check]:
    """Run the trainings and the checks on them.

    Parameters
    ----------
    trial : Trial
        Of the examined model on the test part: its sample is used, the model itself is not.
    trainings : Trainings

    Returns
    -------
    list of Check
    """
    whole = replace(trial, subject=trainings.subject("all"))
    return [
        _left_out(whole, trainings),
        _ungrouped(whole, trainings),
        _shuffled(whole, trainings),
        _plain_only(whole, trainings),
    ]


def _left_out(whole: Trial, trainings: Trainings) -> Check:
    records = trainings.database.records
    rows: list[dict[str, Any]] = []
    verdicts: list[Verdict] = []
    reasons = []
    sources = np.asarray([record.source for record in whole.sample.records])
    for k, name in enumerate(whole.subject.classes):
        mine = [r for r in records if r.label == name and r.source and r.file in trainings.split.parts]
        counts = Counter(record.source for record in mine)
        if len(counts) < 2:
            continue
        for source in sorted(counts):
            chosen = (whole.labels == k) & (sources == source)
            if chosen.sum() < rules.MIN_IMAGES:
                continue
            kept = [
                record
                for record in records
                if (record.label, record.source) != (name, source)
                or trainings.split.parts.get(record.file) == "test"
            ]
            without = replace(
                whole, subject=trainings.subject(f"without-{_word(name)}-{_word(source)}", kept)
            )
            drop = whole.estimate(difference(share(without.right), share(whole.right)), chosen)
            for what, trial in (("trained on", whole), ("left out", without)):
                found = trial.estimate(share(trial.right), chosen)
                row = {"class": name, "source": source, "figure": "recall", "training": what}
                rows.append({**row, **interval(found, int(chosen.sum()))})
            rows.append(
                {"class": name, "source": source, "figure": "drop", **interval(drop, int(chosen.sum()))}
            )
            verdicts.append(rules.at_most(drop, rules.LEFT_OUT_DROP))
            reasons.append(
                f"recall of {name} on {source} falls by {drop.value:.2f} ({drop.low:.2f} to {drop.high:.2f}) "
                "when it is not trained on"
            )
    if not verdicts:
        because = f"no class has two sources, one with {rules.MIN_IMAGES} test images"
        return untold(*LEFT_OUT, because, rows)
    return Check(*LEFT_OUT, joined(verdicts), f"{'; '.join(reasons)}; limit {rules.LEFT_OUT_DROP}", rows)


def _ungrouped(whole: Trial, trainings: Trainings) -> Check:
    records = [r for r in trainings.database.records if r.file in trainings.split.parts]
    torn = make_split([replace(r, group="", patient="") for r in records], seed=trainings.recipe.split_seed)
    # The files' true groups stay for the bootstrap; only the parts ignore them.
    torn = Split(torn.parts, {file: trainings.split.groups[file] for file in torn.parts})
    subject = trainings.subject("ungrouped-split", records, torn)
    test = [
        record
        for record in torn.select(records, "test")
        if record.file in trainings.lungs and trainings.lungs[record.file].quality.both_lungs
    ]
    sample = read_sample(
        test,
        trainings.lungs,
        [torn.groups[r.file] for r in test],
        progress=trainings.progress,
    )
    other = replace(whole, subject=subject, sample=sample)
    k = len(whole.subject.classes)
    figures = [macro_f1(t.labels, t.probabilities.argmax(1), k) for t in (whole, other)]
    gain = independent_difference(whole, figures[0], other, figures[1])
    rows = [
        {"split": name, "figure": "macro_f1", **interval(t.estimate(figure), len(t.sample))}
        for name, t, figure in zip(("grouped", "ungrouped"), (whole, other), figures)
    ]
    rows.append({"split": "ungrouped minus grouped", "figure": "gain", **interval(gain, len(other.sample))})
    because = (
        f"macro-F1 seems better by {gain.value:.3f} ({gain.low:.3f} to {gain.high:.3f}) when near duplicates "
        f"may cross the split; limit {rules.LEAKAGE_GAIN}"
    )
    return Check(*UNGROUPED, rules.at_most(gain, rules.LEAKAGE_GAIN), because, rows)


def _shuffled(whole: Trial, trainings: Trainings) -> Check:
    records, groups = trainings.database.records, trainings.split.groups
    rng = np.random.default_rng(whole.seed)
    labels = {groups[r.file]: r.label for r in records if r.file in groups}
    names = sorted(labels)
    # By group, over the whole dataset: a label then says nothing of an image but through its near duplicates.
    drawn = dict(zip(names, rng.permutation([labels[name] for name in names]).tolist()))
    mixed = [replace(r, label=drawn[groups[r.file]]) for r in records if r.file in groups]
    subject = trainings.subject("shuffled-labels", mixed)
    new = {record.file: record for record in mixed}
    sample = replace(whole.sample, records=[new[record.file] for record in whole.sample.records])
    other = replace(whole, subject=subject, sample=sample)
    found = other.estimate(macro_auroc(other.labels, other.probabilities))
    rows = [{"figure": "macro_auroc", **interval(found, len(other.sample))}]
    because = (
        f"trained and tested on labels shuffled by group, the macro AUROC is {found.value:.3f} ("
        f"{found.low:.3f} to {found.high:.3f}); limit {rules.SHUFFLED_AUROC}"
    )
    return Check(*SHUFFLED, rules.at_most(found, rules.SHUFFLED_AUROC), because, rows)


def _plain_only(whole: Trial, trainings: Trainings) -> Check:
    records = trainings.database.records
    plain = np.asarray([record.processing in PLAIN for record in whole.sample.records])
    k = len(whole.subject.classes)
    least = min(np.bincount(whole.labels[plain], minlength=k), default=0)
    if plain.all() or least < rules.MIN_IMAGES:
        return untold(*PLAIN_ONLY, f"a class has {least} test images of the processings a and b")
    subject = trainings.subject("processing-a-b", [r for r in records if r.processing in PLAIN])
    other = replace(whole, subject=subject)
    figures = [macro_f1(t.labels, t.probabilities.argmax(1), k) for t in (other, whole)]
    drop = whole.estimate(difference(*figures), plain)
    rows = [
        {
            "training": name,
            "images": "a and b",
            "figure": "macro_f1",
            **interval(t.estimate(f, plain), int(plain.sum())),
        }
        for name, t, f in zip(("a and b", "all"), (other, whole), figures)
    ]
    rows.append(
        {
            "training": "all minus a and b",
            "images": "a and b",
            "figure": "drop",
            **interval(drop, int(plain.sum())),
        }
    )
    because = (
        f"on the plain copies, macro-F1 is lower by {drop.value:.3f} ({drop.low:.3f} to {drop.high:.3f}) "
        f"when only they are trained on; limit {rules.PROCESSING_DROP}"
    )
    return Check(*PLAIN_ONLY, rules.at_most(drop, rules.PROCESSING_DROP), because, rows)


def _word(text: str) -> str:
    """A source may be a URL; a folder's name may not."""
    return "".join(character if character.isalnum() else "-" for character in text).strip("-")[:40]
