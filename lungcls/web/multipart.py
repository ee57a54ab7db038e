"""A form as it comes in, chunk by chunk, into memory alone.

Starlette's own reader writes files beyond 1 MB to the disk, where X-rays of strangers have no business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lungcls.web.problems import Problem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILES: Final = "files"
"""Name of the fields that hold images."""

_MAX_FIELDS: Final = 32
_MAX_FIELD: Final = 1024


@dataclass(slots=True, eq=False)
class Part:
    """One part of a form.

    Attributes
    ----------
    headers : dict of str to str
        Names in lower case.
    name : str
        Of the field.
    filename : str
        Empty where there is none.
    content : bytearray
    """

    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    filename: str = ""
    content: bytearray = field(default_factory=bytearray)


class FormReader:
    """Takes the chunks of a body and gives files and fields.

    Parameters
    ----------
    content_type : str
        Header of the request, with the boundary.
    max_files : int

    Attributes
    ----------
    files : list of Part
    fields : dict of str to list of str

    Raises
    ------
    Problem
        ``malformed``, if there is no usable boundary.
    """

    def __init__(self, content_type: str, max_files: int) -> None:
        self.files: list[Part] = []
        self.fields: dict[str, list[str]] = {}
        self._max_files = max_files
        self._count = 0
        self._part = Part()
        self._header = [bytearray(), bytearray()]
        self._complete = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._identify,
            "on_part_data": self._extend,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise Problem("malformed", "The header Content-Type names no boundary.")
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise Problem("malformed", "The boundary of the form cannot be used.") from error

    def write(self, chunk: bytes) -> None:
        """Take the next chunk.

        Raises
        ------
        Problem
            If the form is broken, or has too many or too large parts.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Problem("malformed", "The form is broken, or its boundary is another one.") from error

    def close(self) -> None:
        """Tell that there are no more chunks.

        Raises
        ------
        Problem
            ``malformed``, if the form is not complete.
        """
        if not self._complete:
            raise Problem("malformed", "The form ends too early.")

    def _begin(self) -> None:
        self._part = Part()

    def _end_header(self) -> None:
        # As `parse_options_header` takes it, which gives the same bytes back.
        name, value = (bytes(text).decode("latin-1") for text in self._header)
        self._part.headers[name.lower()] = value
        self._header = [bytearray(), bytearray()]

    def _identify(self) -> None:
        options = parse_options_header(self._part.headers.get("content-disposition", ""))[1]
        self._part.name = _text(options.get(b"name", b""))
        self._part.filename = _text(options.get(b"filename", b""))
        if self._part.name == FILES:
            if len(self.files) == self._max_files:
                raise Problem(
                    "too-many-files",
                    f"At most {self._max_files} files are taken in one request; send several requests.",
                )
            self.files.append(self._part)
        elif b"filename" in options:
            raise Problem("invalid-field", f"Files must be in fields named {FILES!r}.")
        elif self._count == _MAX_FIELDS:
            raise Problem("invalid-field", f"A form may have at most {_MAX_FIELDS} fields beside its files.")
        else:
            self._count += 1

    def _extend(self, data: bytes, start: int, end: int) -> None:
        self._part.content += memoryview(data)[start:end]
        if self._part.name != FILES and len(self._part.content) > _MAX_FIELD:
            raise Problem(
                "invalid-field", f"A field may have at most {_MAX_FIELD} bytes, unless it is a file."
            )

    def _end(self) -> None:
        if self._part.name != FILES:
            self.fields.setdefault(self._part.name, []).append(_text(bytes(self._part.content)))
        elif not self._part.content and not self._part.filename:
            self.files.remove(self._part)  # a browser sends such a part where nothing was chosen

    def _finish(self) -> None:
        self._complete = True


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
