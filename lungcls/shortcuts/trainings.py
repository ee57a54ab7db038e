"""Trainings on other data, which the trained checks compare with a common one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lungcls.classifier import Classifier
from lungcls.data.dataset import Dataset, Record
from lungcls.data.splits import Split
from lungcls.lungs import Lungs
from lungcls.recipes import Recipe
from lungcls.shortcuts.subject import ClassifierSubject
from lungcls.study.context import RunContext


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
    context : RunContext
    """

    recipe: Recipe
    database: Dataset
    split: Split
    lungs: Mapping[str, Lungs]
    out: Path
    context: RunContext = field(default_factory=RunContext)

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

        database = self.database.only(self.database.records if records is None else records)
        folder = self.out / name
        weights = train(
            replace(self.recipe, name=name),
            database,
            folder,
            split=(split or self.split).only(record.file for record in database.records),
            lungs=self.lungs,
            gate=None,
            context=self.context,
        )
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return ClassifierSubject(Classifier.load(weights, self.context.device, engine="torch"))
