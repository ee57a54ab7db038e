"""The application: routes, page and guards put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

import lungcls
from lungcls.labels import NOTICE
from lungcls.web.admission import LOOPBACK, Admission
from lungcls.web.frontend import FOLDER, make_frontend
from lungcls.web.middleware import Counting, Drain, SecurityHeaders
from lungcls.web.problems import install
from lungcls.web.process import ModelProcess
from lungcls.web.routes import make_router
from lungcls.web.schemas import ProblemDocument
from lungcls.web.service import Service
from lungcls.web.settings import Settings

_PATHS = frozenset(
    {"/", "/reference", "/openapi.json", "/healthz", "/metrics"}
    | {f"/v1/{name}" for name in ("predict", "segment", "explain", "models")}
)


def create_app(
    settings: Settings | None = None, *, process: Callable[[Settings, float], ModelProcess] = ModelProcess
) -> FastAPI:
    """Load the weights, in a process of their own, and make the application.

    Parameters
    ----------
    settings : Settings, optional
        Weights, limits and timeouts.
    process : type, default=ModelProcess
        What runs the networks.

    Returns
    -------
    FastAPI
        An ASGI application for one process; its threads start and stop with its lifespan.

    Raises
    ------
    WeightsError
        If weights are missing or damaged.
    ValueError
        If a setting is not possible, or the device or engine is not available.
    WorkerDiedError
        If the process for the networks cannot start.
    """
    settings = settings or Settings()
    service = Service(settings, process)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    app = FastAPI(
        title="lungcls",
        version=lungcls.__version__,
        summary="Find the lungs on chest X-rays and say which class they look like.",
        description=f"{NOTICE} Nothing that is sent is kept.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        # Both load their scripts from elsewhere; `/reference` shows the same document without any.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    install(app)
    app.include_router(make_router(service))
    app.include_router(make_frontend(service))
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    _describe_problems(app)
    app.add_middleware(Drain, most=2 * settings.max_upload)
    app.add_middleware(Admission, hosts=(*LOOPBACK, *settings.allowed_hosts))
    app.add_middleware(Counting, metrics=service.metrics, paths=_PATHS)
    app.add_middleware(SecurityHeaders)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Put the schema of the problem object into the OpenAPI document, which the routes only point to."""
    document = app.openapi()
    problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDocument"] = problem
    app.openapi_schema = document
