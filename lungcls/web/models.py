"""The loaded weights, and the work that the worker threads do with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lungcls.errors import ImageError, OptionError
from lungcls.explanation import Explanation
from lungcls.gate.gate import Gate
from lungcls.images import Image, read_image
from lungcls.pipeline import Pipeline
from lungcls.prediction import Prediction, Segmentation
from lungcls.regions import REGIONS
from lungcls.segmenter import Segmenter
from lungcls.web.once import OnceNetwork
from lungcls.web.settings import Settings
from lungcls.weights import Card, load_card, released

_BUDGET: Final = 64e6
"""Pixels of the decoded images that are held together; one image may go beyond it."""

_RELEASED: Final = frozenset(f"classifier-{region}" for region in REGIONS)
"""Names of the classifiers that the page compares; other released weights must be asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One image to work on.

    Attributes
    ----------
    content : bytes
        The file, as it was sent.
    name : str
        What it is called.
    regions : tuple of str
        Classifiers to ask; none for the lungs alone.
    """

    content: bytes
    name: str
    regions: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was found on one image."""

    image: Image
    lungs: Segmentation
    predictions: dict[str, Prediction]


@dataclass(frozen=True, slots=True, eq=False)
class ExplainJob:
    """One image and what to explain of it."""

    content: bytes
    name: str
    region: str
    method: str
    target: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """An explanation and its image."""

    image: Image
    explanation: Explanation


class Models:
    """A pipeline for each region, with one segmenter for all.

    Parameters
    ----------
    settings : Settings

    Attributes
    ----------
    regions : tuple of str
        Those with a classifier, the widest first.
    cards : dict of str to Card
        By region, and ``segmenter`` and ``gate``.

    Raises
    ------
    WeightsError
        If weights are missing or damaged.
    ValueError
        If two classifiers see the same region, there is none, or the device or engine is not available.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        chosen = _classifiers(settings.classifiers)
        segmenter, gate = _segmenter(settings, settings.engine), _gate(settings, settings.engine)
        self._shared = [OnceNetwork(stage.network) for stage in (segmenter, gate) if stage]
        segmenter.network = self._shared[0]
        if gate:
            gate.network = self._shared[1]
        self._pipelines = {
            region: self._pipeline(weights, segmenter, gate, settings.engine)
            for region, weights in chosen.items()
        }
        self.regions = tuple(chosen)
        self.cards: dict[str, Card] = {
            **{region: pipeline.classifier.card for region, pipeline in self._pipelines.items()},
            "segmenter": segmenter.card,
            **({"gate": gate.card} if gate else {}),
        }

    @property
    def default_region(self) -> str:
        """The region that is explained when none is named."""
        return "mask" if "mask" in self.regions else self.regions[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class of the classifiers, in the order of their cards."""
        names = (name for region in self.regions for name in self.cards[region].classes)
        return tuple(dict.fromkeys(names))

    def work(self, jobs: Sequence[Job]) -> list[Answer | Exception]:
        """Answer a batch; an image that cannot be used takes only its own place."""
        answers: list[Answer | Exception | None] = [None] * len(jobs)
        for chunk in self._decoded(jobs, answers):
            try:
                self._answer(chunk, answers)
            finally:
                for network in self._shared:
                    network.forget()
        return [answer if answer is not None else RuntimeError("no answer") for answer in answers]

    def explain(self, jobs: Sequence[ExplainJob]) -> list[Explained | Exception]:
        """Explain images one by one; needs the engine torch."""
        answers: list[Explained | Exception] = []
        for job in jobs:
            try:
                image = self._read(job.content, job.name)
                pipeline = self._pipelines[job.region]
                explanation = pipeline.explain(image, method=job.method, target=job.target)
                answers.append(Explained(image, explanation))
            except Exception as error:
                answers.append(error)
            finally:
                for network in self._shared:
                    network.forget()
        return answers

    def _pipeline(self, weights: str, segmenter: Segmenter, gate: Gate | None, engine: str) -> Pipeline:
        settings = self._settings
        return Pipeline(
            classifier=weights,
            segmenter=segmenter,
            gate=gate,
            device=settings.device,
            engine=engine,
            batch_size=settings.batch_size,
            max_megapixels=settings.max_megapixels,
        )

    def _read(self, content: bytes, name: str) -> Image:
        # Read as bytes, so that the content alone tells the format; the name is for people.
        return replace(read_image(content, max_megapixels=self._settings.max_megapixels), name=name)

    def _decoded(
        self, jobs: Sequence[Job], answers: list[Answer | Exception | None]
    ) -> Iterator[list[tuple[int, Job, Image]]]:
        """Decode the jobs, in chunks that fit into the memory; what cannot be read is answered here."""
        chunk: list[tuple[int, Job, Image]] = []
        pixels = 0
        for place, job in enumerate(jobs):
            try:
                image = self._read(job.content, job.name)
            except (ImageError, MemoryError) as error:
                answers[place] = error
                continue
            chunk.append((place, job, image))
            pixels += image.pixels.size
            if pixels >= _BUDGET:
                yield chunk
                chunk, pixels = [], 0
        if chunk:
            yield chunk

    def _answer(
        self, chunk: Sequence[tuple[int, Job, Image]], answers: list[Answer | Exception | None]
    ) -> None:
        predictions: dict[int, dict[str, Prediction]] = {place: {} for place, _, _ in chunk}
        # Once through stage 1 together, whatever is asked for.
        any_pipeline = next(iter(self._pipelines.values()))
        images = [image for _, _, image in chunk]
        lungs: list[Segmentation] = list(any_pipeline.stream(images, batch_size=len(images), classify=False))
        for region, pipeline in self._pipelines.items():
            wanted = [(place, image) for place, job, image in chunk if region in job.regions]
            results = pipeline.stream(
                [image for _, image in wanted], batch_size=len(chunk), on_error="return"
            )
            for (place, _), result in zip(wanted, results):
                if isinstance(result, Prediction):
                    predictions[place][region] = result
                else:
                    answers[place] = result.error
        for (place, _, image), found in zip(chunk, lungs):
            if answers[place] is None:
                answers[place] = Answer(image, found, predictions[place])


def _segmenter(settings: Settings, engine: str) -> Segmenter:
    return Segmenter.load(settings.segmenter, settings.device, engine=engine)


def _gate(settings: Settings, engine: str) -> Gate | None:
    return Gate.load(settings.gate, settings.device, engine=engine) if settings.gate else None


def _classifiers(names: tuple[str, ...]) -> dict[str, str]:
    """Return weights by region, the widest region first."""
    found: dict[str, str] = {}
    for name in names or [name for name in released() if name in _RELEASED]:
        card = load_card(name)
        region = (card.region or {}).get("name", "")
        if not region:
            raise OptionError(f"{name} is no classifier; expected weights whose card names a region")
        if region in found:
            raise OptionError(f"{name} and {found[region]} both see the region {region!r}; give one a region")
        found[region] = name
    if not found:
        raise OptionError("there is no classifier; name one, or install lungcls with its weights")
    return {region: found[region] for region in REGIONS if region in found}
