"""A page on which people correct lung masks: films of a folder in, PNG masks beside them out."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader
from PIL import Image as PILImage
from starlette.concurrency import run_in_threadpool

from lungcls.data.files import MASK_SUFFIXES, list_images, pair_masks
from lungcls.data.masks import read_mask
from lungcls.errors import DataError, LungclsError
from lungcls.files import atomic_write
from lungcls.finder import Finder
from lungcls.images import read_image
from lungcls.labels import NOTICE
from lungcls.regions import Mask, resize_mask, stretch
from lungcls.render.pictures import grey_picture, mask_picture
from lungcls.web.admission import LOOPBACK, Admission
from lungcls.web.middleware import SecurityHeaders

_FOLDER: Final = Path(__file__).parent
_LARGEST: Final = 1 << 26
"""Bytes of a mask that is sent: a PNG of two values is far smaller, whatever its size."""


class Reviewed:
    """The films of a folder and the masks beside them.

    Parameters
    ----------
    folder : path-like
        With films in ``images/`` or in itself. Masks are read from, and written to, ``masks/`` below it.
    finder : Finder
        That draws the first mask where there is none yet.

    Raises
    ------
    DataError
        If there are no films, two have one name, or a mask is no PNG.
    """

    def __init__(self, folder: str | Path, finder: Finder) -> None:
        self.folder, self.finder = Path(folder), finder
        self.films = list_images(self.folder / "images") or list_images(self.folder)
        if not self.films:
            raise DataError(f"{self.folder}: no films in it, nor in its folder images")
        stems = [film.stem for film in self.films]
        if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
            raise DataError(
                f"{self.folder}: two films have the name {twice[0]}; their masks would be one file"
            )
        pairs, _ = pair_masks(self.films, list_images(self.folder / "masks", MASK_SUFFIXES))
        if other := next((mask for mask in pairs.values() if mask.suffix.lower() != ".png"), None):
            raise DataError(f"{other}: masks are saved as PNG; turn this one into a PNG first")
        self._places = pairs
        self._lock = threading.Lock()  # the networks are one for all requests

    def place(self, film: Path) -> Path:
        """Return where the mask of a film is kept."""
        return self._places.get(film, self.folder / "masks" / f"{film.stem}.png")

    def picture(self, film: Path) -> PILImage.Image:
        """Return a film as the networks are shown it, in 8 bits."""
        return grey_picture(stretch(read_image(film).pixels))

    def mask(self, film: Path) -> tuple[Mask, bool]:
        """Return a film's mask at its own size, and whether it was saved (else the segmenter drew it)."""
        image = read_image(film)
        height, width = image.pixels.shape
        place = self.place(film)
        if place.is_file():
            return resize_mask(read_mask(place), (height, width)), True
        with self._lock:
            (lungs,) = self.finder.find([image])
        return lungs.mask, False

    def save(self, film: Path, content: bytes) -> Path:
        """Write a mask that was sent as PNG: light is lung.

        Raises
        ------
        DataError
            If it is no PNG, not of the film's size, or nothing is marked.
        """
        try:
            with PILImage.open(io.BytesIO(content), formats=("PNG",)) as picture:
                size = picture.size
                height, width = read_image(film).pixels.shape
                if size != (width, height):
                    raise DataError(
                        f"{film.name}: the mask has {size[0]} x {size[1]} pixels, expected {width} x {height}"
                    )
                mask = np.asarray(picture.convert("L")) > 127
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{film.name}: what was sent is no PNG ({error})") from error
        if not mask.any():
            raise DataError(f"{film.name}: nothing is marked as lung; paint it, or leave the film out")
        place = self.place(film)
        with atomic_write(place) as file:
            mask_picture(mask).save(file, "PNG")
        return place


def create_review(reviewed: Reviewed) -> FastAPI:
    """Make the application of the page.

    Parameters
    ----------
    reviewed : Reviewed

    Returns
    -------
    FastAPI
        For this machine alone: other hosts' names and other sites' pages are refused.
    """
    app = FastAPI(title="lungcls masks review", docs_url=None, redoc_url=None, openapi_url=None)
    environment = Environment(loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True)
    page = environment.get_template("review.html").render(notice=NOTICE)

    @app.exception_handler(LungclsError)
    def refuse(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    @app.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/films")
    def films() -> list[dict[str, Any]]:
        return [{"name": film.name, "saved": reviewed.place(film).is_file()} for film in reviewed.films]

    @app.get("/films/{number}")
    def film(number: int) -> Response:
        return _png(reviewed.picture(_film(reviewed, number)))

    @app.get("/masks/{number}")
    def mask(number: int) -> Response:
        drawn, _ = reviewed.mask(_film(reviewed, number))
        return _png(mask_picture(drawn))

    @app.put("/masks/{number}")
    async def save(number: int, request: Request) -> dict[str, str]:
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > _LARGEST:
                raise DataError(f"a mask of more than {_LARGEST:,} bytes is refused")
        place = await run_in_threadpool(reviewed.save, _film(reviewed, number), bytes(content))
        return {"saved": place.name}

    app.mount("/static", StaticFiles(directory=_FOLDER / "static"), name="static")
    app.add_middleware(Admission, hosts=LOOPBACK)
    app.add_middleware(SecurityHeaders)
    return app


def _film(reviewed: Reviewed, number: int) -> Path:
    if not 0 <= number < len(reviewed.films):
        raise DataError(f"no film has the number {number}; there are {len(reviewed.films)}")
    return reviewed.films[number]


def _png(picture: PILImage.Image) -> Response:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return Response(buffer.getvalue(), media_type="image/png")
