"""The checks that need trainings of their own: 4, and the trained halves of 5 and 8.

They examine a training on this data in this region, with a small recipe, and not the weights that are given:
a question about data can only be answered by training on other data.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from lungcls.data.splits import Split, make_split
from lungcls.evaluation.weighted import difference, macro_auroc, macro_f1, share
from lungcls.shortcuts import rules
from lungcls.shortcuts.check import Audit, Check, Finding, Verdict, joined
from lungcls.shortcuts.external import independent_difference
from lungcls.shortcuts.processing import PLAIN
from lungcls.shortcuts.sample import Trial, interval
from lungcls.shortcuts.trainings import Trainings


class TrainedCheck(Check):
    """A check that trains on other data and compares with the common training.

    The model that is examined is not used, only its region and its films.
    """

    needs_training = True

    def run(self, trial: Trial, audit: Audit) -> Finding:
        """See the class."""
        if audit.trainings is None:
            return self.untold("it needs trainings (--train-checks)")
        return self.compare(replace(trial, subject=audit.trainings.subject("all")), audit.trainings)

    @abstractmethod
    def compare(self, whole: Trial, trainings: Trainings) -> Finding:
        """Compare with the training on all data, `whole`."""


class LeaveOneSourceOut(TrainedCheck):
    """Recall on a source that was left out of the training."""

    name = "leave_one_source_out"
    number = 4
    title = "Recall on a source that was left out of the training"

    def compare(self, whole: Trial, trainings: Trainings) -> Finding:
        """See the class."""
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
                    f"recall of {name} on {source} falls by {drop.value:.2f} ({drop.low:.2f} to "
                    f"{drop.high:.2f}) when it is not trained on"
                )
        if not verdicts:
            because = f"no class has two sources, one with {rules.MIN_IMAGES} test images"
            return self.untold(because, rows)
        return self.finding(joined(verdicts), f"{'; '.join(reasons)}; limit {rules.LEFT_OUT_DROP}", rows)


class LeakageTrained(TrainedCheck):
    """The same training on a split that tears near duplicates apart."""

    name = "leakage_trained"
    number = 5
    title = "The same training on a split that tears near duplicates apart"

    def compare(self, whole: Trial, trainings: Trainings) -> Finding:
        """See the class."""
        records = [r for r in trainings.database.records if r.file in trainings.split.parts]
        torn = make_split(
            [replace(r, group="", patient="") for r in records], seed=trainings.recipe.split_seed
        )
        # The files' true groups stay for the bootstrap; only the parts ignore them.
        torn = Split(torn.parts, {file: trainings.split.groups[file] for file in torn.parts})
        subject = trainings.subject("ungrouped-split", records, torn)
        study = replace(whole.study, records=torn.select(records, "test"), lungs=trainings.lungs, split=torn)
        other = Trial.open(subject, study, trainings.context.progress)
        k = len(whole.subject.classes)
        figures = [macro_f1(t.labels, t.probabilities.argmax(1), k) for t in (whole, other)]
        gain = independent_difference(whole, figures[0], other, figures[1])
        rows = [
            {"split": name, "figure": "macro_f1", **interval(t.estimate(figure), len(t.sample))}
            for name, t, figure in zip(("grouped", "ungrouped"), (whole, other), figures)
        ]
        rows.append(
            {"split": "ungrouped minus grouped", "figure": "gain", **interval(gain, len(other.sample))}
        )
        because = (
            f"macro-F1 seems better by {gain.value:.3f} ({gain.low:.3f} to {gain.high:.3f}) when near "
            f"duplicates may cross the split; limit {rules.LEAKAGE_GAIN}"
        )
        return self.finding(rules.at_most(gain, rules.LEAKAGE_GAIN), because, rows)


class LabelShuffle(TrainedCheck):
    """A training on shuffled labels."""

    name = "label_shuffle"
    number = 8
    title = "A training on shuffled labels"

    def compare(self, whole: Trial, trainings: Trainings) -> Finding:
        """See the class."""
        records, groups = trainings.database.records, trainings.split.groups
        rng = np.random.default_rng(whole.seed)
        labels = {groups[r.file]: r.label for r in records if r.file in groups}
        names = sorted(labels)
        # By group, over the whole dataset: a label then tells an image through its near duplicates alone.
        drawn = dict(zip(names, rng.permutation([labels[name] for name in names]).tolist()))
        mixed = [replace(r, label=drawn[groups[r.file]]) for r in records if r.file in groups]
        subject = trainings.subject("shuffled-labels", mixed)
        new = {record.file: record for record in mixed}
        study = whole.study.of([new[record.file] for record in whole.sample.records])
        sample = replace(whole.sample, study=study)
        other = replace(whole, subject=subject, sample=sample)
        found = other.estimate(macro_auroc(other.labels, other.probabilities))
        rows = [{"figure": "macro_auroc", **interval(found, len(other.sample))}]
        because = (
            f"trained and tested on labels shuffled by group, the macro AUROC is {found.value:.3f} ("
            f"{found.low:.3f} to {found.high:.3f}); limit {rules.SHUFFLED_AUROC}"
        )
        return self.finding(rules.at_most(found, rules.SHUFFLED_AUROC), because, rows)


class ProcessingTrained(TrainedCheck):
    """A training on the processings a and b only."""

    name = "processing_trained"
    number = 8
    title = "A training on the processings a and b only"

    def compare(self, whole: Trial, trainings: Trainings) -> Finding:
        """See the class."""
        records = trainings.database.records
        plain = np.asarray([record.processing in PLAIN for record in whole.sample.records])
        k = len(whole.subject.classes)
        least = min(np.bincount(whole.labels[plain], minlength=k), default=0)
        if plain.all() or least < rules.MIN_IMAGES:
            return self.untold(f"a class has {least} test images of the processings a and b")
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
        return self.finding(rules.at_most(drop, rules.PROCESSING_DROP), because, rows)


def _word(text: str) -> str:
    """A source may be a URL; a folder's name may not."""
    return "".join(character if character.isalnum() else "-" for character in text).strip("-")[:40]
