"""The page, and the reference of the REST service as a page; neither loads anything from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from lungcls.web.cards import card_rows, missed
from lungcls.web.routes import describe
from lungcls.web.service import Service

FOLDER: Final = Path(__file__).parent
"""Folder of templates and static files."""


def make_frontend(service: Service) -> APIRouter:
    """Return the routes of the pages."""
    # Fields of the OpenAPI document are mostly optional: one that is missing counts as empty.
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=ChainableUndefined
    )
    environment.filters["percent"] = _percent
    router = APIRouter(include_in_schema=False)
    # Neither changes while the service runs.
    cards = service.models.cards
    shares = {region: missed(cards[region]) for region in service.models.regions}
    index = environment.get_template("index.html").render(
        about=describe(service),
        cards=cards,
        rows={name: card_rows(card) for name, card in cards.items()},
        missed={region: values for region, values in shares.items() if values},
    )

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page() -> HTMLResponse:
        return HTMLResponse(index)

    @router.get("/reference")
    async def reference(request: Request) -> HTMLResponse:
        document: dict[str, Any] = request.app.openapi()
        text = environment.get_template("reference.html").render(document=document)
        return HTMLResponse(text)

    @router.get("/favicon.ico")
    async def icon() -> RedirectResponse:
        return RedirectResponse("static/icon.svg")

    return router


def _percent(value: float) -> str:
    return f"{value:.0%}"
