"""The work behind ``predict`` and ``segment``: any number of files, and nothing lost when it is cut short."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import lungcls
from lungcls.cli.inputs import Input
from lungcls.cli.journal import Journal, Row, remove_partial_files
from lungcls.cli.tables import print_table, write_csv, write_json
from lungcls.errors import LungclsError
from lungcls.files import Fingerprint, atomic_write, fingerprint
from lungcls.labels import NOTICE
from lungcls.progress import bar
from lungcls.weights import card_sha256

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from lungcls.lungs import Lungs
    from lungcls.prediction import Failure, Prediction
    from lungcls.streaming import Streaming

TABLES = ("predictions", "segments", "explanations")
"""The names of the tables that the commands write."""


@dataclass
class Batch:
    """One run over many inputs.

    Parameters
    ----------
    name : str
        One of :data:`TABLES`.
    pipeline : Pipeline
    classes : tuple of str or None
        Of stage 2; None leaves it out.
    out : Path or None
        Where tables and pictures go; None keeps only the rows.
    value_range : (low, high) or None
    masks, overlays : bool
        Which pictures to write.

    Attributes
    ----------
    done : int
        Inputs that are finished, those of an earlier run included.
    continued : int
        Inputs that an earlier run had finished.
    """

    name: str
    pipeline: Streaming
    classes: tuple[str, ...] | None
    out: Path | None = None
    value_range: tuple[float, float] | None = None
    masks: bool = True
    overlays: bool = True
    done: int = field(default=0, init=False)
    continued: int = field(default=0, init=False)

    def run(self, inputs: Sequence[Input]) -> list[Row]:
        """Work through the inputs and return their rows, in order.

        Raises
        ------
        OSError
            If `out` cannot be written. What is finished is kept, and the same run can be continued.
        """
        if self.out is None:
            return self._work(inputs, None)
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / journal_name(self.name)
        if path.exists():
            remove_partial_files([self.out])
        journal = Journal(path, self.about())
        try:
            rows = self._work(inputs, journal)
            self.write_csv(self.out / f"{self.name}.csv", rows)
            write_json(self.out / f"{self.name}.json", self.about(), self.name, rows)
            journal.remove()
        finally:
            journal.close()
        return rows

    def about(self) -> dict[str, Any]:
        """Return all that the rows depend on."""
        used = {"segmenter": self.pipeline.segmenter.card}
        if self.pipeline.lead.gate is not None:
            used["gate"] = self.pipeline.lead.gate.card
        if self.classes is not None:
            stages = self.pipeline.classifiers
            numbers = [""] if len(stages) == 1 else [f" {number}" for number in range(1, len(stages) + 1)]
            used |= {f"classifier{number}": stage.card for number, stage in zip(numbers, stages)}
        return {
            "notice": NOTICE,
            "lungcls": lungcls.__version__,
            "weights": {
                # The temperature and the conformal scores may change while the weights do not.
                stage: {"name": card.name, "sha256": card.sha256, "card_sha256": card_sha256(card)}
                for stage, card in used.items()
            },
            "options": {
                "engine": self.pipeline.segmenter.network.engine,
                "device": self.pipeline.segmenter.device,
                "precision": self.pipeline.lead.precision,
                "on_bad_mask": self.pipeline.lead.on_bad_mask,
                "on_reject": self.pipeline.lead.on_reject,
                "fill_holes": self.pipeline.segmenter.fill_holes,
                "keep_parts": self.pipeline.segmenter.keep_parts,
                "max_megapixels": self.pipeline.max_megapixels,
                "tta": self.pipeline.lead.tta,
                "coverage": self.pipeline.lead.coverage,
                "value_range": list(self.value_range) if self.value_range else None,
                "masks": self.masks,
                "overlays": self.overlays,
            },
        }

    def write_csv(self, path: Path, rows: Sequence[Row]) -> None:
        """Write the table of the rows."""
        write_csv(path, rows, self.classes)

    def print_table(self, rows: Sequence[Row]) -> None:
        """Print the table of the rows for people."""
        print_table(rows, self.classes)

    def stream(self, paths: Iterator[str]) -> Iterator[Any]:
        """Answer the inputs in order, each with a result or a Failure."""
        answers: Iterator[Any] = self.pipeline.stream(
            paths,
            value_range=self.value_range,
            on_error="return",
            classify=self.classes is not None,
        )
        return answers

    def _work(self, inputs: Sequence[Input], journal: Journal | None) -> list[Row]:
        rows: list[Row | None] = [None] * len(inputs)
        todo: list[tuple[int, Input, Fingerprint | None]] = []
        for place, item in enumerate(inputs):
            if item.problem:
                rows[place] = {"path": item.path, "error": item.problem}
                continue
            # Taken before the file is read, so that a change while it is read is seen by the next run.
            state = fingerprint(item.path)
            rows[place] = self._known(item, state, journal)
            if rows[place] is None:
                todo.append((place, item, state))
        self.continued = sum(row is not None and not row.get("error") for row in rows)
        self.done = len(inputs) - len(todo)
        if self.continued:
            typer.echo(f"lungcls: continuing, {self.continued} of {len(inputs)} images were done", err=True)
        results = self.stream(item.path for _, item, _ in todo)
        text = "segmenting" if self.classes is None else "predicting"
        watched = bar(results, len(inputs), text, done=self.done)
        if journal is not None:
            journal.forget(item.picture for _, item, _ in todo)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            # The answers first: zip then asks them for one more than there are, which ends the bar.
            for chunk in _chunks(zip(watched, todo), self.pipeline.batch_size):
                answers, tasks = zip(*chunk)
                made = list(pool.map(self._row, [item for _, item, _ in tasks], answers))
                for (place, _, _), row in zip(tasks, made):
                    rows[place] = row
                if journal is not None:
                    # Failures are left out: what was wrong may be mended before the run is continued.
                    journal.add(
                        (item.picture, state, row)
                        for (_, item, state), row in zip(tasks, made)
                        if state and not row["error"]
                    )
                self.done += len(chunk)
        return [row for row in rows if row is not None]

    def _known(self, item: Input, state: Fingerprint | None, journal: Journal | None) -> Row | None:
        """The row of an earlier run, if all that belongs to it is there."""
        row = journal.find(item.picture, item.path, state) if journal is not None else None
        if row is None or self.out is None:
            return None
        pictures = self._pictures(item)
        same = all(row.get(kind) == name and (self.out / name).is_file() for kind, name in pictures.items())
        return row if same else None

    def _pictures(self, item: Input) -> dict[str, str]:
        """Kind of picture to its path below the folder of results."""
        names = {}
        if self.out is not None and self.masks:
            names["mask"] = f"masks/{item.picture}"
        if self.out is not None and self.overlays:
            names["overlay"] = f"overlays/{item.picture}"
        return names

    def _row(self, item: Input, result: Lungs | Prediction | Failure) -> Row:
        """Write an input's pictures and return its row."""
        from lungcls.prediction import Failure

        if isinstance(result, Failure):
            return result.to_dict()
        row = result.to_dict()
        del row["notice"]
        pictures = self._pictures(item)
        try:
            for kind, name in pictures.items():
                assert self.out is not None
                self._save(kind, result, self.out / name)
        except LungclsError as error:  # the file is gone or has changed since it was read
            return {"path": item.path, "error": str(error)}
        return {**row, **pictures, "error": None}

    def _save(self, kind: str, result: Any, path: Path) -> None:
        """Write one of the pictures that :meth:`_pictures` names."""
        save_png(_mask(result) if kind == "mask" else result.overlay(), path)


def journal_name(name: str) -> str:
    """Return the file name of the journal of the tables called `name`."""
    return f".{name}.journal.jsonl"


def _mask(result: Lungs | Prediction) -> Picture:
    import numpy as np
    from PIL import Image

    from lungcls.prediction import Prediction

    mask = result.lungs.mask if isinstance(result, Prediction) else result.mask
    return Image.fromarray(mask.astype(np.uint8) * 255)


def save_png(picture: Picture, path: Path) -> None:
    """Write a picture, and no half of a file."""
    with atomic_write(path) as file:
        # Large films take seconds at Pillow's default level, for a tenth of the size.
        picture.save(file, "PNG", compress_level=3)


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk
