"""The REST service: images in, JSON out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final, TypeVar

import anyio
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from PIL import Image as PILImage
from pydantic import BaseModel

import lungcls
from lungcls.explanation import METHODS
from lungcls.labels import NOTICE
from lungcls.lungs import Lungs
from lungcls.prediction import Prediction
from lungcls.web import schemas
from lungcls.web.forms import (
    ExplainForm,
    PredictForm,
    SegmentForm,
    check_choice,
    documented_form,
    parse_fields,
)
from lungcls.web.models import Answer, Explained
from lungcls.web.pictures import black_white, data_url, grey, to_bytes
from lungcls.web.problems import Problem, documented
from lungcls.web.references import class_notes
from lungcls.web.service import Service, service_of
from lungcls.web.settings import Settings
from lungcls.web.uploads import Form, Upload, read_form

_REGION_WORDS: Final = {
    "full": "the whole image",
    "crop": "the box around the lungs",
    "mask": "the lungs alone, cropped to their box",
    "mask_uncropped": "the lungs alone, in their place",
    "background": "all but the lungs",
    "background_box": "all but the box around the lungs",
    "silhouette": "the outline of the lungs alone",
}

_PROBLEMS: Final = (400, 408, 413, 415, 422, 429, 500, 503, 504)

Result = TypeVar("Result")


async def _images(request: Request) -> AsyncIterator[Form]:
    service = service_of(request)
    with service.places.take():
        yield await read_form(request, service.settings, service.settings.max_files)


async def _one_image(request: Request) -> AsyncIterator[Form]:
    service = service_of(request)
    with service.explain_places.take():
        yield await read_form(request, service.settings, 1)


Images = Annotated[Form, Depends(_images)]
OneImage = Annotated[Form, Depends(_one_image)]
TheService = Annotated[Service, Depends(service_of)]


def make_router(service: Service) -> APIRouter:
    """Return the routes, described with the regions and limits of this service."""
    settings, models = service.settings, service.models
    router = APIRouter()
    choices = {"region": models.regions, "method": METHODS, "target": models.classes}

    @router.post(
        "/v1/predict",
        summary="Classify chest X-rays",
        response_model=schemas.PredictAnswer,
        responses=documented(*_PROBLEMS),
        openapi_extra=documented_form(PredictForm, settings.max_files, choices),
        tags=["images"],
    )
    async def predict(form: Images, service: TheService) -> Response:
        """Find the lungs on each image and ask the classifiers of the regions what they look like.

        One result a file, in their order. If any file cannot be used there is no result at all, and the
        problem names every such file. Nothing is kept.
        """
        options = parse_fields(PredictForm, form.fields)
        for region in options.region:
            check_choice("region", region, models.regions)
        answers = await service.predict(form.files, tuple(options.region) or models.regions)
        results = [
            await _drawn(service, _predicted, upload, answer, options)
            for upload, answer in zip(form.files, answers)
        ]
        return _json(schemas.PredictAnswer(notice=NOTICE, version=lungcls.__version__, results=results))

    @router.post(
        "/v1/segment",
        summary="Find the lungs",
        response_model=schemas.SegmentAnswer,
        responses=documented(*_PROBLEMS),
        openapi_extra=documented_form(SegmentForm, settings.max_files, choices),
        tags=["images"],
    )
    async def segment(form: Images, service: TheService) -> Response:
        """Find the lungs on each image, without classifying it."""
        options = parse_fields(SegmentForm, form.fields)
        answers = await service.predict(form.files, ())
        results = [
            await _drawn(service, _segmented, upload, answer, options)
            for upload, answer in zip(form.files, answers)
        ]
        return _json(schemas.SegmentAnswer(notice=NOTICE, version=lungcls.__version__, results=results))

    @router.post(
        "/v1/explain",
        summary="Show where the evidence for a class lies",
        response_model=schemas.ExplainAnswer,
        responses=documented(*_PROBLEMS),
        openapi_extra=documented_form(ExplainForm, 1, choices),
        tags=["images"],
    )
    async def explain(form: OneImage, service: TheService) -> Response:
        """Map what speaks for a class, in the eyes of one region's classifier; slower than a prediction."""
        options = parse_fields(ExplainForm, form.fields)
        region = options.region or models.default_region
        check_choice("region", region, models.regions)
        check_choice("method", options.method, METHODS)
        if options.target is not None:
            check_choice("target", options.target, models.cards[region].classes)
        upload = form.files[0]
        explained = await service.explain(upload, region, options.method, options.target)
        return _json(await _drawn(service, _explained, upload, explained, options, region))

    @router.get("/v1/models", summary="What is loaded", tags=["service"])
    async def loaded(service: TheService) -> schemas.Models:
        """Regions, classes with references, limits, and the model card of every loaded weight file."""
        return describe(service)

    @router.get(
        "/healthz",
        summary="Whether the service works",
        response_model=schemas.Health,
        responses=documented(503),
        tags=["service"],
    )
    async def healthz(service: TheService) -> schemas.Health:
        """Answer 200 while images are taken, 503 otherwise."""
        if not service.working:
            raise Problem("not-ready", "The thread that runs the networks has stopped; restart the service.")
        digests = {card.name: card.sha256 for card in service.models.cards.values()}
        return schemas.Health(status="ok", version=lungcls.__version__, weights=digests)

    @router.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        tags=["service"],
    )
    async def metrics(service: TheService) -> Response:
        """Requests, times, refusals, batches, the queue, and the memory of the process."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def describe(service: Service) -> schemas.Models:
    """Return what the page and `/v1/models` tell of the loaded weights."""
    models, settings = service.models, service.settings
    return schemas.Models(
        notice=NOTICE,
        version=lungcls.__version__,
        limits=_limits(settings),
        regions={region: _REGION_WORDS[region] for region in models.regions},
        default_region=models.default_region,
        methods=list(METHODS),
        classes=class_notes(models.classes),
        cards={name: card.to_dict() for name, card in models.cards.items()},
    )


def _limits(settings: Settings) -> schemas.Limits:
    return schemas.Limits(
        max_upload_bytes=settings.max_upload,
        max_megapixels=settings.max_megapixels,
        max_files=settings.max_files,
    )


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


async def _drawn(service: Service, build: Callable[..., Result], *arguments: Any) -> Result:
    """Build an answer with its pictures beside the event loop, few at a time."""
    return await anyio.to_thread.run_sync(build, *arguments, limiter=service.drawing)


def _file(upload: Upload, answer: Answer | Explained) -> schemas.File:
    return schemas.File(
        name=upload.name,
        format=upload.format,
        bytes=len(upload.content),
        width=answer.image.width,
        height=answer.image.height,
        pixel_spacing=answer.image.pixel_spacing,
    )


def _lungs(found: Lungs) -> schemas.Lungs:
    quality = schemas.QualityReport.model_validate(found.quality.to_dict())
    return schemas.Lungs(box=found.box, quality=quality, segmenter=found.segmenter)


def _pictures(answer: Answer, options: SegmentForm | PredictForm) -> schemas.Pictures:
    draw: dict[str, Callable[[], str]] = {
        "image": lambda: data_url(grey(answer.image.pixels), options.max_side),
        "mask": lambda: data_url(black_white(answer.lungs.mask)),
        "overlay": lambda: data_url(answer.lungs.overlay(), options.max_side),
    }
    return schemas.Pictures(**{name: draw[name]() for name in set(options.pictures) & set(draw)})


def _segmented(upload: Upload, answer: Answer, options: SegmentForm) -> schemas.SegmentedImage:
    return schemas.SegmentedImage(
        file=_file(upload, answer), lungs=_lungs(answer.lungs), pictures=_pictures(answer, options)
    )


def _predicted(upload: Upload, answer: Answer, options: PredictForm) -> schemas.PredictedImage:
    view = "view" in options.pictures
    return schemas.PredictedImage(
        file=_file(upload, answer),
        lungs=_lungs(answer.lungs),
        predictions={region: _region(found, view) for region, found in answer.predictions.items()},
        pictures=_pictures(answer, options),
    )


def _region(found: Prediction, view: bool = False) -> schemas.RegionPrediction:
    return schemas.RegionPrediction(
        label=found.label,
        confidence=found.confidence,
        tier=found.tier,
        second=found.second,
        probabilities=found.probabilities,
        conformal_set=list(found.conformal_set),
        coverage=found.coverage,
        words=found.words(),
        region=found.region,
        fallback=found.fallback,
        classifier=found.classifier,
        view=data_url(PILImage.fromarray(found.view)) if view else None,
    )


def _explained(
    upload: Upload, explained: Explained, options: ExplainForm, region: str
) -> schemas.ExplainAnswer:
    found = explained.explanation
    draw: dict[str, Callable[[], PILImage.Image]] = {
        "overlay": found.overlay,
        "cam": lambda: PILImage.fromarray(to_bytes(found.cam)),
        "figure": lambda: found.figure(4),
    }
    pictures = {name: data_url(draw[name](), options.max_side) for name in set(options.pictures)}
    return schemas.ExplainAnswer(
        notice=NOTICE,
        version=lungcls.__version__,
        file=_file(upload, explained),
        region=region,
        method=found.method,
        target=found.target,
        shares=found.to_dict()["shares"],
        prediction=_region(found.prediction),
        pictures=schemas.ExplainPictures(**pictures),
    )
