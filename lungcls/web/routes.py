"""The REST service: images in, JSON out."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel

import lungcls
from lungcls.explanation import METHODS
from lungcls.labels import NOTICE
from lungcls.web import schemas
from lungcls.web.forms import (
    ExplainForm,
    PredictForm,
    SegmentForm,
    check_choice,
    documented_form,
    parse_fields,
)
from lungcls.web.problems import Problem, documented
from lungcls.web.references import class_notes
from lungcls.web.service import Service, service_of
from lungcls.web.settings import Settings

_REGION_WORDS: Final = {
    "full": "the whole image",
    "crop": "the box around the lungs",
    "mask": "the lungs alone, cropped to their box",
    "mask_uncropped": "the lungs alone, in their place",
    "background": "all but the lungs",
    "background_box": "all but the box around the lungs",
    "silhouette": "the outline of the lungs alone",
}

_DOOR: Final = (400, 403, 415, 422)
_PROBLEMS: Final = (*_DOOR, 408, 413, 429, 500, 503, 504)


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
    async def predict(request: Request, service: TheService) -> Response:
        """Find the lungs on each image and ask the classifiers of the regions what they look like.

        One result a file, in their order. If any file cannot be used there is no result at all, and the
        problem names every such file. Nothing is kept.
        """
        async with service.incoming(request, service.places, settings.max_files) as form:
            options = parse_fields(PredictForm, form.fields)
            for region in options.region:
                check_choice("region", region, models.regions)
            results = await service.predict(form.files, tuple(options.region) or models.regions, options)
        return _json(schemas.PredictAnswer(notice=NOTICE, version=lungcls.__version__, results=results))

    @router.post(
        "/v1/segment",
        summary="Find the lungs",
        response_model=schemas.SegmentAnswer,
        responses=documented(*_PROBLEMS),
        openapi_extra=documented_form(SegmentForm, settings.max_files, choices),
        tags=["images"],
    )
    async def segment(request: Request, service: TheService) -> Response:
        """Find the lungs on each image, without classifying it."""
        async with service.incoming(request, service.places, settings.max_files) as form:
            options = parse_fields(SegmentForm, form.fields)
            results = await service.predict(form.files, (), options)
        return _json(schemas.SegmentAnswer(notice=NOTICE, version=lungcls.__version__, results=results))

    @router.post(
        "/v1/explain",
        summary="Show where the evidence for a class lies",
        response_model=schemas.ExplainAnswer,
        responses=documented(*_PROBLEMS),
        openapi_extra=documented_form(ExplainForm, 1, choices),
        tags=["images"],
    )
    async def explain(request: Request, service: TheService) -> Response:
        """Map what speaks for a class, in the eyes of one region's classifier; slower than a prediction."""
        async with service.incoming(request, service.explain_places, 1) as form:
            options = parse_fields(ExplainForm, form.fields)
            region = options.region or models.default_region
            check_choice("region", region, models.regions)
            check_choice("method", options.method, METHODS)
            if options.target is not None:
                check_choice("target", options.target, models.cards[region].classes)
            answer = await service.explain(form.files[0], region, options)
        return _json(answer)

    @router.get("/v1/models", summary="What is loaded", responses=documented(*_DOOR), tags=["service"])
    async def loaded(service: TheService) -> schemas.Models:
        """Regions, classes with references, limits, and the model card of every loaded weight file."""
        return describe(service)

    @router.get(
        "/healthz",
        summary="Whether the service works",
        response_model=schemas.Health,
        responses=documented(*_DOOR, 503),
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
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **documented(*_DOOR),
        },
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
