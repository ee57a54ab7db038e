"""Everything that can go wrong as one JSON object (RFC 9457), and never a path or a trace in it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from lungcls.web.schemas import FileProblem, ProblemDocument

_log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

TITLES: Final[dict[str, tuple[int, str]]] = {
    "malformed": (400, "The request body cannot be read"),
    "foreign-host": (400, "The service is not known by this name"),
    "foreign-origin": (403, "The request comes from another site"),
    "upload-timeout": (408, "The upload took too long"),
    "upload-too-large": (413, "The upload is too large"),
    "too-many-files": (413, "Too many files in one request"),
    "image-too-large": (413, "The image has too many pixels"),
    "not-multipart": (415, "The request is no multipart form"),
    "compressed-body": (415, "The body is compressed"),
    "not-an-image": (415, "The file is of no format that is read here"),
    "damaged-image": (422, "The image cannot be used"),
    "invalid-field": (422, "A field of the form is not valid"),
    "unknown-option": (422, "The address has options that no path takes"),
    "no-file": (422, "There is no file in the request"),
    "several-problems": (422, "Several files cannot be used"),
    "busy": (429, "Too many requests are waiting"),
    "internal": (500, "The service failed"),
    "worker-died": (500, "The process that worked on the request ended"),
    "not-ready": (503, "The service is not working"),
    "waited-too-long": (503, "The request waited too long for its turn"),
    "worked-too-long": (504, "The work took too long"),
}
"""Every kind of problem, with its status and title."""

_RETRY: Final = {"busy": 2, "waited-too-long": 5, "not-ready": 5}


class Problem(Exception):
    """A refusal that the client is told.

    Parameters
    ----------
    kind : str
        A key of :data:`TITLES`.
    detail : str
        What was found, what was expected and the way out, for the one who sent the request.
    errors : sequence of FileProblem, optional
        Which files are meant.
    """

    def __init__(self, kind: str, detail: str, errors: Iterable[FileProblem] = ()) -> None:
        super().__init__(kind, detail, errors)  # all of it, so that it can be sent between processes
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)

    def __str__(self) -> str:
        return self.detail

    @property
    def status(self) -> int:
        """HTTP status."""
        return TITLES[self.kind][0]

    def response(self) -> Response:
        """Return the answer to send."""
        headers = {"Retry-After": str(_RETRY[self.kind])} if self.kind in _RETRY else {}
        return _response(self.status, self.kind, TITLES[self.kind][1], self.detail, self.errors, headers)

    def of_file(self, index: int, name: str) -> FileProblem:
        """Return the problem as one of a file among several."""
        return FileProblem(
            index=index, name=name, type=_urn(self.kind), title=TITLES[self.kind][1], detail=self.detail
        )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the problems with these statuses."""
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        kinds = [f"`{_urn(kind)}` ({title})" for kind, (number, title) in TITLES.items() if number == status]
        headers = {
            "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
        }
        responses[status] = {
            "description": f"{HTTPStatus(status).phrase}: " + "; ".join(kinds),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
            **({"headers": headers} if status in (429, 503) else {}),
        }
    return responses


def install(app: FastAPI) -> None:
    """Let every error of the application answer with a problem object."""

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        request.state.problem = error.kind
        return error.response()

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = HTTPStatus(error.status_code).phrase
        detail = {404: "There is nothing at this path.", 405: "This path does not take this method."}
        return _response(
            error.status_code,
            f"http-{error.status_code}",
            title,
            detail.get(error.status_code, title),
            (),
            error.headers or {},
        )

    async def validation(request: Request, error: Exception) -> Response:
        return Problem("invalid-field", "The request does not have the form that its schema says.").response()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, validation)


def internal(error: BaseException) -> Response:
    """Log what nobody foresaw, and answer without a word of it."""
    _log.error("a request failed", exc_info=error)
    return Problem(
        "internal", "The reason is in the log of the service; the request may be tried again."
    ).response()


def _urn(kind: str) -> str:
    return f"urn:lungcls:{kind}"


def _response(
    status: int,
    kind: str,
    title: str,
    detail: str,
    errors: Iterable[FileProblem],
    headers: Mapping[str, str],
) -> Response:
    document = ProblemDocument(
        type=_urn(kind), title=title, status=status, detail=detail, errors=list(errors) or None
    )
    return Response(
        document.model_dump_json(exclude_none=True), status, headers=dict(headers), media_type=MEDIA_TYPE
    )
