"""The loaded weights, and the work that the worker threads do with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from lungcls.errors import ImageError, OptionError
from lungcls.explanation import Explanation
from lungcls.finder import Finder
from lungcls.images import Image, read_image
from lungcls.lungs import Lungs
from lungcls.pipeline import Pipeline
from lungcls.prediction import Prediction
from lungcls.regions import REGIONS
from lungcls.segmenter import Segmenter
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
    lungs: Lungs
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
    """One finder, and for each region a classifier that answers its lungs.

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
    OptionError
        If two classifiers see the same region, there is none, or the device or engine is not available.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        chosen = _classifiers(settings.classifiers)
        self._finder = Finder.load(
            settings.segmenter, settings.gate or None, settings.device, engine=settings.engine
        )
        self._pipelines = {region: self._pipeline(weights) for region, weights in chosen.items()}
        self.regions = tuple(chosen)
        stages = {"segmenter": self._finder.segmenter, "gate": self._finder.gate}
        self.cards: dict[str, Card] = {
            **{region: pipeline.classifier.card for region, pipeline in self._pipelines.items()},
            **{name: stage.card for name, stage in stages.items() if stage},
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
            self._answer(chunk, answers)
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
        return answers

    def _pipeline(self, weights: str) -> Pipeline:
        settings = self._settings
        return Pipeline(
            classifier=weights,
            segmenter=cast(Segmenter, self._finder.segmenter),
            gate=self._finder.gate,
            device=settings.device,
            engine=settings.engine,
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
        lungs = self._finder.find([image for _, _, image in chunk])
        predictions: list[dict[str, Prediction]] = [{} for _ in chunk]
        for region, pipeline in self._pipelines.items():
            wanted = [index for index, (_, job, _) in enumerate(chunk) if region in job.regions]
            for index, result in zip(wanted, pipeline.answerer.answer([lungs[index] for index in wanted])):
                if isinstance(result, Prediction):
                    predictions[index][region] = result
                else:
                    answers[chunk[index][0]] = result.error
        for (place, _, image), of_film, by_region in zip(chunk, lungs, predictions):
            if answers[place] is None:
                answers[place] = Answer(image, of_film, by_region)


def _classifiers(names: tuple[str, ...]) -> dict[str, str]:
    """Return weights by region, the widest region first."""
    classifiers: dict[str, str] = {}
    for name in names or [name for name in released() if name in _RELEASED]:
        card = load_card(name)
        region = (card.region or {}).get("name", "")
        if not region:
            raise OptionError(f"{name} is no classifier; expected weights whose card names a region")
        if region in classifiers:
            raise OptionError(
                f"{name} and {classifiers[region]} both see the region {region!r}; give one a region"
            )
        classifiers[region] = name
    if not classifiers:
        raise OptionError("there is no classifier; name one, or install lungcls with its weights")
    return {region: classifiers[region] for region in REGIONS if region in classifiers}
