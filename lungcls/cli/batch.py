"""The work of ``predict``, ``segment`` and ``explain``: any number of files, nothing lost when cut short."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from PIL import Image as PILImage

import lungcls
from lungcls.cli.inputs import PICTURES, Input, collect, is_result_folder
from lungcls.cli.journal import Journal, Row, journal_name, remove_partial_files
from lungcls.cli.tables import doubts, print_table, printable, write_csv
from lungcls.cli.unlike import compared, mark, numbers_of
from lungcls.ensemble import Ensemble
from lungcls.errors import ImageError, LungclsError, OptionError
from lungcls.files import Fingerprint, atomic_write, fingerprint, write_json
from lungcls.labels import NOTICE
from lungcls.options import PipelineOptions
from lungcls.pipeline import Pipeline
from lungcls.pixels import checked_range
from lungcls.prediction import Failure, Prediction
from lungcls.progress import bar
from lungcls.render.pictures import mask_picture
from lungcls.weights import card_sha256

if TYPE_CHECKING:
    from lungcls.drift.compare import Drift
    from lungcls.lungs import Lungs
    from lungcls.streaming import Streaming

_STAGES = ("region", "classifier", "segmenter", "gate", "fallback")
_SHOWN = 20
"""With --out, so many answers are printed as well; of more, how many there are of each."""


def collect_files(
    inputs: Sequence[str], out: Path | None, value_range: tuple[float, float] | None
) -> list[Input]:
    """Find the files, and refuse what would fail for each of them."""
    checked_range(value_range)
    files = collect(inputs, out)
    if all(item.problem for item in files):
        more = f"; and {len(files) - 3} more" if len(files) > 3 else ""
        raise LungclsError("; ".join(item.problem for item in files[:3]) + more)
    if out is not None and out.exists() and not out.is_dir():
        raise OptionError(f"{out} is a file; --out takes a folder")
    if out is not None and not is_result_folder(out):
        # Someone's own masks/ beside the images is a usual layout, and the names would be the same.
        for folder in (out / name for name in PICTURES):
            if folder.is_dir() and any(folder.iterdir()):
                raise OptionError(
                    f"{folder} holds files that lungcls did not write; give another folder with --out"
                )
    return files


def load_pipeline(options: PipelineOptions, classifiers: Sequence[str] = ()) -> Pipeline | Ensemble:
    """Load a pipeline, or an ensemble where several classifiers are named."""
    keywords = options.keywords()
    if len(classifiers) < 2:
        return Pipeline(**{**keywords, "classifier": classifiers[0] if classifiers else options.classifier})
    shared = {key: value for key, value in keywords.items() if key not in ("region", "classifier")}
    ensemble = Ensemble(classifiers, **shared)
    for stage_two in ensemble.classifiers:
        if options.region not in (None, stage_two.region.name):
            raise OptionError(
                f"{stage_two.card.name} sees the region {stage_two.region.name!r}, not {options.region!r}; "
                "leave out the region"
            )
    return ensemble


def work(files: Sequence[Input], batch: Batch) -> None:
    """Run a batch, say what came of it, and leave with the exit code for it."""
    out, name = batch.out, batch.name
    way_on = "nothing is kept without --out" if out is None else "run the same command again to continue"
    try:
        rows = batch.run(files)
    except KeyboardInterrupt:
        _stop(f"interrupted with {batch.done} of {len(files)} images done; {way_on}", 130)
    except OSError as error:
        _stop(f"cannot write the results: {error}; {batch.done} of {len(files)} images are done; {way_on}", 1)
    failed = [row for row in rows if row["error"]]
    if out is None or len(rows) <= _SHOWN:
        batch.print_table(rows)
        for line in doubts(rows):
            typer.echo(line)
    if out is not None:
        for line in _counts(rows):
            typer.echo(line)
        typer.echo(f"{len(rows) - len(failed)} of {len(rows)} images done: {out / name}.csv")
    typer.echo(NOTICE)
    for line in batch.warnings:
        typer.echo(line)
    for row in failed:
        typer.echo(f"lungcls: {printable(row['error'])}", err=True)
    if failed:
        raise typer.Exit(1)


def _counts(rows: Sequence[Row]) -> Iterator[str]:
    """How many there are of each answer and of each reason."""
    done = [row for row in rows if not row["error"]]
    if len(rows) > _SHOWN:
        labels = Counter(row["label"] or "no label" for row in done if "label" in row)
        if labels:
            yield ", ".join(f"{count} {label}" for label, count in labels.most_common())
    refused = [row for row in done if not row["quality"]["accepted"]]
    if refused:
        yield f"{len(refused)} of them do not look like chest X-rays ({_reasons(refused)})"
    whole = [row for row in done if row.get("fallback")]
    if whole:
        yield f"{len(whole)} of them by the whole image, for want of two lungs ({_reasons(whole)})"


def _reasons(rows: Sequence[Row]) -> str:
    names = Counter(reason["name"] for row in rows for reason in row["quality"]["reasons"])
    return ", ".join(f"{name} {count}" for name, count in names.most_common())


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(f"lungcls: {printable(message)}", err=True)
    raise typer.Exit(code)


@dataclass
class Batch:
    """One run over many inputs.

    Parameters
    ----------
    name : str
        Of the tables: ``predictions``, ``segments`` or ``explanations``.
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
    drift : Drift or None
        What became of comparing the films with those that the classifier was calibrated on.
    warnings : list of str
        What to know before believing the answers, in sentences.
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
    drift: Drift | None = field(default=None, init=False)
    warnings: list[str] = field(default_factory=list, init=False)

    def run(self, inputs: Sequence[Input]) -> list[Row]:
        """Work through the inputs and return their rows, in order.

        Raises
        ------
        OSError
            If `out` cannot be written. What is finished is kept, and the same run can be continued.
        """
        if self.out is None:
            return self._compared(self._work(inputs, None))
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / journal_name(self.name)
        if path.exists():
            remove_partial_files([self.out])
        journal = Journal(path, self.about())
        try:
            rows = self._compared(self._work(inputs, journal))
            self.write_csv(self.out / f"{self.name}.csv", rows)
            drift = {} if self.drift is None else {"drift": self.drift.to_dict()}
            about = {**self.about(), **drift, self.name: list(rows)}
            write_json(self.out / f"{self.name}.json", about, allow_nan=False)
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
                **self._options(),
                "value_range": list(self.value_range) if self.value_range else None,
                "masks": self.masks,
                "overlays": self.overlays,
            },
        }

    def _options(self) -> dict[str, Any]:
        """The options that answers depend on; of the stages, the weights' cards say more than their names."""
        lead, segmenter = self.pipeline.lead, self.pipeline.segmenter
        options = lead.options.to_dict()
        for name in (*_STAGES, "batch_size"):
            del options[name]
        return {
            **options,
            "engine": segmenter.network.engine,
            "device": segmenter.device,
            "fill_holes": segmenter.fill_holes,
            "keep_parts": segmenter.keep_parts,
        }

    def _compared(self, rows: list[Row]) -> list[Row]:
        """Compare the films with those of the classifier's calibration, and mark what is not promised."""
        if self.classes is not None:
            self.drift, self.warnings = compared(rows, self.pipeline)
            mark(rows, self.drift)
        return rows

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
        if journal is not None and journal.replaced:
            typer.echo(
                f"lungcls: an unfinished run in {self.out} had other weights or options: started anew",
                err=True,
            )
        self.continued = sum(row is not None and not row.get("error") for row in rows)
        self.done = len(inputs) - len(todo)
        if self.continued:
            typer.echo(
                f"lungcls: continuing an earlier run, {self.continued} of {len(inputs)} images were done",
                err=True,
            )
        results = self.stream(item.path for _, item, _ in todo)
        text = "segmenting" if self.classes is None else "predicting"
        watched = bar(results, len(inputs), text, done=self.done)
        if journal is not None:
            journal.forget(item.picture for _, item, _ in todo)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            # The answers first: zip then asks them for one more than there are, which ends the bar.
            for chunk in _chunks(zip(watched, todo), self.pipeline.batch_size):
                answers, tasks = zip(*chunk)
                _, items, states = zip(*tasks)
                chunk_rows = list(pool.map(self._row, items, states, answers))
                for (place, _, _), row in zip(tasks, chunk_rows):
                    rows[place] = row
                if journal is not None:
                    # Failures are left out: what was wrong may be mended before the run is continued.
                    journal.add(
                        (item.picture, state, row)
                        for (_, item, state), row in zip(tasks, chunk_rows)
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
        """Of :meth:`_all_pictures`, those that are written."""
        wanted = self._wanted()
        names = self._all_pictures(item) if self.out is not None else {}
        return {kind: name for kind, name in names.items() if wanted[kind]}

    def _wanted(self) -> dict[str, bool]:
        return {"mask": self.masks, "overlay": self.overlays}

    def _row(self, item: Input, state: Fingerprint | None, result: Lungs | Prediction | Failure) -> Row:
        """Write an input's pictures and return its row."""
        self._remove_old(item)
        if isinstance(result, Failure):
            return result.to_dict()
        row = result.to_dict()
        del row["notice"]
        if isinstance(result, Prediction) and self.classes is not None:
            row["film"] = numbers_of(result)
        pictures = self._pictures(item)
        try:
            for kind, name in pictures.items():
                assert self.out is not None
                self._save(kind, result, self.out / name)
            if pictures and fingerprint(item.path) != state:
                raise ImageError(f"{item.path}: the file changed while it was worked on; run it again")
        except LungclsError as error:
            self._remove_old(item)
            return {"path": item.path, "error": str(error)}
        return {**row, **pictures, "error": None}

    def _remove_old(self, item: Input) -> None:
        """Delete pictures of an earlier run that bear the name of this input: they may be of another film."""
        if self.out is not None and item.picture:
            for name in self._all_pictures(item).values():
                (self.out / name).unlink(missing_ok=True)

    def _all_pictures(self, item: Input) -> dict[str, str]:
        """Kind of picture to its path below the folder of results, of all that the command can write."""
        return {"mask": f"masks/{item.picture}", "overlay": f"overlays/{item.picture}"}

    def _save(self, kind: str, result: Any, path: Path) -> None:
        """Write one of the pictures that :meth:`_pictures` names."""
        save_png(_mask(result) if kind == "mask" else result.overlay(), path)


def _mask(result: Lungs | Prediction) -> PILImage.Image:
    mask = result.lungs.mask if isinstance(result, Prediction) else result.mask
    return mask_picture(mask)


def save_png(picture: PILImage.Image, path: Path) -> None:
    """Write a picture, and no half of a file."""
    with atomic_write(path) as file:
        # Large films take seconds at Pillow's default level, for a tenth of the size.
        picture.save(file, "PNG", compress_level=3)


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk
