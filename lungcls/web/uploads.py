"""Reading the form of a request, within bounds, into memory alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request

from lungcls.errors import DamagedImageError, ImageError, ImageFormatError, ImageSizeError
from lungcls.images import image_format
from lungcls.web.arrivals import Body
from lungcls.web.multipart import FILES, FormReader
from lungcls.web.problems import Problem
from lungcls.web.settings import Settings

_MAX_NAME: Final = 120
_HEAD: Final = 132
_OBJECTS: Final = re.compile(r"<[^<>]* at 0x[0-9a-f]+>")


_CUT: Final = {
    "upload-timeout": "The body came slowly, and another request needed its place; send it again, at once.",
    "not-ready": "The service is stopping.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """One file of a form.

    Attributes
    ----------
    name : str
        As it was sent, without folders and control characters.
    content : bytes
    format : str
        As its content tells.
    """

    name: str
    content: bytes
    format: str


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The files and the other fields of a request."""

    files: list[Upload]
    fields: dict[str, list[str]]


async def read_form(request: Request, settings: Settings, max_files: int, body: Body) -> Form:
    """Read and check the form of a request, whose bytes are counted as `body`.

    Raises
    ------
    Problem
        If it is no form, too large, too slow, or a file of it is of no format that is read.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Problem("not-multipart", f"Send the images as multipart/form-data, in fields named {FILES!r}.")
    length = request.headers.get("content-length", "")
    if length.isdecimal():
        _check_size(int(length), settings.max_upload)
    reader, size = FormReader(content_type, max_files), 0
    try:
        with body.scope:
            async for chunk in request.stream():
                size += len(chunk)
                _check_size(size, settings.max_upload)  # whatever the head said of the length
                body.grow(len(chunk))
                reader.write(chunk)
            body.whole = True
    except ClientDisconnect as error:
        raise Problem("malformed", "The connection was closed before the body was complete.") from error
    if body.cut:
        raise Problem(body.cut, _CUT[body.cut])
    if not body.whole:
        raise Problem("upload-timeout", f"After {size} bytes the body came too slowly; send it at once.")
    reader.close()
    if not reader.files:
        raise Problem("no-file", f"Send at least one image, in a field named {FILES!r}.")
    uploads = [(plain_name(part.filename, place), part.content) for place, part in enumerate(reader.files)]
    return Form(_checked(uploads), reader.fields)


def plain_name(name: str, place: int) -> str:
    """Return a name without folders and without what a terminal or a page could stumble over."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(letter if letter.isprintable() else "_" for letter in last).strip()
    return printable[-_MAX_NAME:] or f"image-{place + 1}"


def file_problem(errors: list[tuple[int, str, Problem]], files: int) -> Problem:
    """Return one problem for the files of a request that cannot be used: their own kind where it is one."""
    kinds = {problem.kind for _, _, problem in errors}
    listed = [problem.of_file(index, name) for index, name, problem in errors]
    details = [f"{name}: {problem.detail}" if files > 1 else problem.detail for _, name, problem in errors]
    return Problem(kinds.pop() if len(kinds) == 1 else "several-problems", " ".join(details), listed)


def _checked(uploads: list[tuple[str, bytearray]]) -> list[Upload]:
    """Tell the formats; nothing is decoded yet."""
    checked, errors = [], []
    for place, (name, content) in enumerate(uploads):
        try:
            # Not by the name, which would let any content pass as an old DICOM file.
            kind = image_format(bytes(content[:_HEAD]), "<file>")
            checked.append(Upload(name, bytes(content), kind))
        except ImageFormatError as error:
            errors.append((place, name, image_problem(error)))
    if errors:
        raise file_problem(errors, len(uploads))
    return checked


def image_problem(error: ImageError) -> Problem:
    """Return an error of reading as one that its sender is told."""
    # The advice is for Python where it stands apart; the reader calls what has no name of its own so.
    told = "" if isinstance(error, DamagedImageError) else error.finding
    text = _OBJECTS.sub("data", told or str(error).removeprefix("<bytes>: "))
    kind = "not-an-image" if isinstance(error, ImageFormatError) else "damaged-image"
    kind = "image-too-large" if isinstance(error, ImageSizeError) else kind
    return Problem(kind, f"{text[:1].upper()}{text[1:]}.")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Problem(
            "upload-too-large",
            f"A request may have at most {limit / 1e6:g} MB; send fewer or smaller files in one.",
        )
