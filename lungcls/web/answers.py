"""What the networks found as the JSON that is sent, with its pictures; runs in their process."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL import Image as PILImage

import lungcls
from lungcls.errors import ImageError
from lungcls.labels import NOTICE
from lungcls.lungs import Lungs
from lungcls.prediction import Prediction
from lungcls.regions import stretch
from lungcls.render.pictures import grey_picture, mask_picture, picture_url
from lungcls.web import schemas
from lungcls.web.forms import ExplainForm, PredictForm, SegmentForm
from lungcls.web.models import Answer, Explained, ExplainJob, Job
from lungcls.web.process import models
from lungcls.web.uploads import Upload, image_problem


@dataclass(frozen=True, slots=True, eq=False)
class PredictTask:
    """One image to answer.

    Attributes
    ----------
    upload : Upload
    regions : tuple of str
        Classifiers to ask.
    options : PredictForm or SegmentForm
        Which pictures to draw; the kind decides what is answered.
    """

    upload: Upload
    regions: tuple[str, ...]
    options: PredictForm | SegmentForm


@dataclass(frozen=True, slots=True, eq=False)
class ExplainTask:
    """One image to explain, the region's classifier to ask, and the options."""

    upload: Upload
    region: str
    options: ExplainForm


def predict(
    tasks: Sequence[PredictTask],
) -> list[schemas.PredictedImage | schemas.SegmentedImage | Exception]:
    """Answer a batch, a problem in the place of an image that cannot be used."""
    jobs = [Job(task.upload.content, task.upload.name, task.regions) for task in tasks]
    answers = models().work(jobs)
    # Drawing a large film takes several times its own memory.
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda each: _safely(_answered, *each), zip(tasks, answers)))


def explain(tasks: Sequence[ExplainTask]) -> list[schemas.ExplainAnswer | Exception]:
    """Explain images one by one, a problem in the place of one that cannot be used."""
    jobs = [
        ExplainJob(
            task.upload.content, task.upload.name, task.region, task.options.method, task.options.target
        )
        for task in tasks
    ]
    return [_safely(_explained, *each) for each in zip(tasks, models().explain(jobs))]


def _safely(build: Callable[..., Any], task: Any, answer: Any) -> Any:
    """Return the answer or what is wrong, as something that can leave the process."""
    try:
        if isinstance(answer, Exception):
            raise answer
        return build(task, answer)
    except ImageError as error:
        return image_problem(error)
    except Exception:
        return RuntimeError(traceback.format_exc())  # the error itself may not be fit to travel


def _answered(task: PredictTask, answer: Answer) -> schemas.PredictedImage | schemas.SegmentedImage:
    file, lungs = _file(task.upload, answer), _lungs(answer.lungs)
    pictures = _pictures(answer, task.options)
    if isinstance(task.options, SegmentForm):
        return schemas.SegmentedImage(file=file, lungs=lungs, pictures=pictures)
    view = "view" in task.options.pictures
    predictions = {region: _region(prediction, view) for region, prediction in answer.predictions.items()}
    return schemas.PredictedImage(file=file, lungs=lungs, predictions=predictions, pictures=pictures)


def _file(upload: Upload, answer: Answer | Explained) -> schemas.File:
    return schemas.File(
        name=upload.name,
        format=upload.format,
        bytes=len(upload.content),
        width=answer.image.width,
        height=answer.image.height,
        pixel_spacing=answer.image.pixel_spacing,
    )


def _lungs(lungs: Lungs) -> schemas.Lungs:
    quality = schemas.QualityReport.model_validate(lungs.quality.to_dict())
    return schemas.Lungs(box=lungs.box, quality=quality, segmenter=lungs.segmenter)


def _pictures(answer: Answer, options: SegmentForm | PredictForm) -> schemas.Pictures:
    draw: dict[str, Callable[[], str]] = {
        "image": lambda: picture_url(grey_picture(stretch(answer.image.pixels)), options.max_side),
        "mask": lambda: picture_url(mask_picture(answer.lungs.mask)),
        "overlay": lambda: picture_url(answer.lungs.overlay(), options.max_side),
    }
    return schemas.Pictures(**{name: draw[name]() for name in set(options.pictures) & set(draw)})


def _region(prediction: Prediction, view: bool = False) -> schemas.RegionPrediction:
    return schemas.RegionPrediction(
        label=prediction.label,
        findings=None if prediction.findings is None else list(prediction.findings),
        confidence=prediction.confidence,
        tier=prediction.tier,
        second=prediction.second,
        probabilities=prediction.probabilities,
        conformal_set=list(prediction.conformal_set),
        coverage=prediction.coverage,
        words=prediction.words(),
        region=prediction.region,
        fallback=prediction.fallback,
        classifier=prediction.classifier,
        view=picture_url(PILImage.fromarray(prediction.view)) if view else None,
    )


def _explained(task: ExplainTask, explained: Explained) -> schemas.ExplainAnswer:
    explanation, options = explained.explanation, task.options
    draw: dict[str, Callable[[], PILImage.Image]] = {
        "overlay": explanation.overlay,
        "cam": lambda: grey_picture(explanation.cam),
        "figure": lambda: explanation.figure(4),
    }
    pictures = {name: picture_url(draw[name](), options.max_side) for name in set(options.pictures)}
    return schemas.ExplainAnswer(
        notice=NOTICE,
        version=lungcls.__version__,
        file=_file(task.upload, explained),
        region=task.region,
        method=explanation.method,
        target=explanation.target,
        shares=explanation.to_dict()["shares"],
        prediction=_region(explanation.prediction),
        pictures=schemas.ExplainPictures(**pictures),
    )
