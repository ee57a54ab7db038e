"""The work on one shard, the same on one machine and on many."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pyarrow as pa

import lungcls
from lungcls.errors import FilmError, LungclsError
from lungcls.labels import NOTICE
from lungcls.scale.films import CONNECTIONS, Film, Source, sources
from lungcls.scale.schema import SCHEMA_VERSION, answer_columns, output_schema
from lungcls.scale.shards import Claims, ShardFolder, write_shard
from lungcls.scale.sources import Shard
from lungcls.weights import card_sha256

if TYPE_CHECKING:
    from lungcls.classifier import Classifier
    from lungcls.streaming import Streaming

Masks: TypeAlias = Literal["rle", "png", "none"]
MASKS: tuple[Masks, ...] = ("rle", "png", "none")

_GROUP = 1024
"""Rows that are kept until they are written."""


@dataclass(frozen=True)
class Job:
    """What every worker of a run is told.

    Attributes
    ----------
    folder : str
        URI of the output.
    start : str
        Name of the start that the worker belongs to.
    root : str
        What relative paths are below.
    options : dict
        Of the pipeline; ``classifier`` may be a list, which makes an ensemble.
    masks : {"rle", "png", "none"}
    value_range : (low, high) or None
    input_type : pyarrow.DataType or None
        Of the column ``input``.
    """

    folder: str
    start: str
    root: str
    options: dict[str, Any]
    masks: Masks = "rle"
    value_range: tuple[float, float] | None = None
    input_type: pa.DataType | None = None


@dataclass(frozen=True)
class Summary:
    """What came of a shard.

    Attributes
    ----------
    shard : int
    state : {"done", "elsewhere", "lost"}
        Whether it is there, another start works on it, or it was given up.
    rows : int
        That were done now.
    failures : dict of str to int
        Rows with an error, by its kind.
    problem : str
        Why it was given up.
    """

    shard: int
    state: Literal["done", "elsewhere", "lost"]
    rows: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    problem: str = ""


class Worker:
    """A pipeline that works on shards.

    Parameters
    ----------
    job : Job

    Raises
    ------
    WeightsError, ValueError
        As :class:`lungcls.Pipeline`.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.pipeline = load_pipeline(job.options)
        self.folder = ShardFolder(job.folder)
        self.claims = Claims(self.folder, job.start)
        self.schema = output_schema(
            self.pipeline.classifier.card.classes, job.input_type, rle=job.masks == "rle"
        )
        self._hashes = weights_hashes(self.pipeline)
        self._pool = ThreadPoolExecutor(CONNECTIONS, "fetch")

    def about(self) -> dict[str, Any]:
        """Return all of the run that the rows depend on, but its input."""
        return about(self.pipeline, self.job)

    def work(self, shard: Shard, tell: Callable[[int], None] = lambda rows: None) -> Summary:
        """Do a shard, unless it is there or another start has claimed it.

        Parameters
        ----------
        shard : RowShard or TarShard
        tell : callable
            Told how many more rows are done.

        Raises
        ------
        StorageError
            If the output cannot be written.
        """
        if not self.claims.claim(shard.index):
            return Summary(shard.index, "elsewhere")
        if self.folder.shard(shard.index).exists():
            return Summary(shard.index, "done")
        failures: Counter[str] = Counter()
        count = 0
        rows: list[dict[str, Any]] = []
        png = self.job.masks == "png"
        with write_shard(self.folder, shard.index, self.schema, png=png) as writer:
            for film, answer in self._answers(shard.films()):
                row = answer_columns(answer, rle=self.job.masks == "rle")
                row |= {"shard": shard.index, "row": film.row, "uri": film.uri, "input": film.input}
                row |= weights_columns(self._hashes, row.get("classifier"))
                rows.append(row)
                if "error_kind" in row:
                    failures[row["error_kind"]] += 1
                elif png:
                    writer.add_mask(mask_name(film), answer.lungs.mask)
                count += 1
                tell(1)
                if len(rows) == _GROUP:
                    writer.add(rows)
                    rows.clear()
            writer.add(rows)
        return Summary(shard.index, "done", count, dict(failures))

    def _answers(self, films: Iterator[Film]) -> Iterator[tuple[Film, Any]]:
        ahead = 2 * self.pipeline.batch_size + CONNECTIONS
        return answers(self.pipeline, sources(films, self.job.root, self._pool, ahead), self.job.value_range)


def answers(
    pipeline: Streaming,
    films: Iterator[tuple[Film, str | Source]],
    value_range: tuple[float, float] | None = None,
) -> Iterator[tuple[Film, Any]]:
    """Return each film with its Prediction or Failure, in order; what no reader foresaw costs one film.

    Parameters
    ----------
    pipeline : Pipeline or Ensemble
    films : iterator of (Film, source)
        As :func:`lungcls.scale.films.sources` gives them.
    value_range : (low, high), optional
    """
    from lungcls.prediction import Failure

    waiting: list[tuple[Film, str | Source]] = []

    def read() -> Iterator[str | Source]:
        for pair in films:
            waiting.append(pair)
            yield pair[1]

    def stream(source: Any) -> Iterator[Any]:
        return pipeline.stream(source, value_range=value_range, on_error="return")

    try:
        for answer in stream(read()):
            yield waiting.pop(0)[0], answer
    except LungclsError:
        raise
    except Exception:
        # Something in these films breaks a reader or a network. One by one, only the culprit fails.
        for film, source in itertools.chain(waiting[:], films):
            try:
                answer = next(stream(iter([source])))
            except Exception as error:
                answer = Failure(film.uri or "", FilmError(f"{film.uri}: {type(error).__name__}: {error}"))
            yield film, answer


def mask_name(film: Film) -> str:
    """Return the name of a film's mask in a tar file: its row, then its own name."""
    return f"{film.row:010d}.{PurePosixPath((film.uri or '').split('::')[0]).stem or 'film'}.png"


def load_pipeline(options: dict[str, Any]) -> Streaming:
    """Load a pipeline, or an ensemble where ``classifier`` is a list of several weights."""
    from lungcls.ensemble import Ensemble
    from lungcls.pipeline import Pipeline

    classifiers: Sequence[str | Path] | str | Path | None = options.get("classifier")
    if isinstance(classifiers, (list, tuple)):
        if len(classifiers) > 1:
            rest = {name: value for name, value in options.items() if name not in ("classifier", "region")}
            return Ensemble(classifiers, **rest)
        return Pipeline(**{**options, "classifier": classifiers[0] if classifiers else None})
    return Pipeline(**options)


def weights_hashes(pipeline: Streaming) -> dict[str, str]:
    """Return the hashes of all weights that a pipeline may ask: by their name, of stage 1 by the stage."""
    hashes = {"segmenter": pipeline.segmenter.card.sha256}
    if pipeline.lead.gate is not None:
        hashes["gate"] = pipeline.lead.gate.card.sha256
    return hashes | {stage.card.name: stage.card.sha256 for stage in _stages(pipeline)}


def weights_columns(hashes: dict[str, str], classifier: str | None) -> dict[str, str | None]:
    """Return the columns of a row that tell which weights made it; those of an ensemble are joined by ``+``.

    Parameters
    ----------
    hashes : dict of str to str
        As :func:`weights_hashes` gives them.
    classifier : str or None
        Name of the weights that answered; None where none did.
    """
    names = classifier.split("+") if classifier else []
    return {
        "segmenter_sha256": hashes["segmenter"],
        "classifier_sha256": "+".join(hashes[name] for name in names) or None,
        "gate_sha256": hashes.get("gate"),
    }


def _stages(pipeline: Streaming) -> list[Classifier]:
    """Stage 2 of each member, and what stands in for it."""
    unique = {stage.card.name: stage for stage in (*pipeline.classifiers, *pipeline.explainers)}
    return list(unique.values())


def about(pipeline: Streaming, job: Job) -> dict[str, Any]:
    """Return all that the rows depend on, as JSON-safe values; see :meth:`Worker.about`."""
    lead = pipeline.lead
    cards = {"segmenter": pipeline.segmenter.card}
    if lead.gate is not None:
        cards["gate"] = lead.gate.card
    cards |= {f"classifier {number}": stage.card for number, stage in enumerate(_stages(pipeline), 1)}
    return {
        "notice": NOTICE,
        "schema": SCHEMA_VERSION,
        "lungcls": lungcls.__version__,
        "classes": list(pipeline.classifier.card.classes),
        "weights": {
            stage: {"name": card.name, "sha256": card.sha256, "card_sha256": card_sha256(card)}
            for stage, card in cards.items()
        },
        "options": {
            "engine": pipeline.segmenter.network.engine,
            "device": pipeline.segmenter.device.split(":")[0],
            "precision": lead.precision,
            "batch_size": pipeline.batch_size,
            "on_bad_mask": lead.on_bad_mask,
            "on_reject": lead.on_reject,
            "fill_holes": pipeline.segmenter.fill_holes,
            "keep_parts": pipeline.segmenter.keep_parts,
            "max_megapixels": pipeline.max_megapixels,
            "tta": lead.tta,
            "coverage": lead.coverage,
            "value_range": list(job.value_range) if job.value_range else None,
            "masks": job.masks,
            "root": job.root,
        },
    }
