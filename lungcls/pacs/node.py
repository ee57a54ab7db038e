"""A DICOM node that takes chest films (C-STORE) and keeps them in a queue before it says that it has them."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from lungcls.errors import OptionError
from lungcls.pacs.queue import FilmQueue

_log = logging.getLogger(__name__)

FILMS: Final = (
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.7",
)
"""SOP classes that are taken: CR, DX for presentation and for processing, secondary capture."""

SYNTAXES: Final = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.5",
)
"""Transfer syntaxes that are taken: those that the reader decodes."""

OTHER_PARTS: Final = frozenset(
    name
    for line in (
        "ABDOMEN ANKLE ARM BREAST CALCANEUS CLAVICLE COCCYX CSPINE ELBOW EXTREMITY FEMUR FINGER FOOT FOREARM",
        "HAND HEAD HIP HUMERUS JAW KNEE LEG LSPINE MANDIBLE NECK PELVIS SHOULDER SKULL SSPINE TIBIA TOE",
        "TSPINE WRIST",
    )
    for name in line.split()
)
"""Values of BodyPartExamined that name another part of the body; others are in many languages and pass."""

LATERAL: Final = frozenset({"LL", "RL"})

_SUCCESS, _OUT_OF_RESOURCES, _NOT_THIS, _CANNOT_READ = 0x0000, 0xA700, 0xA900, 0xC210
_LARGEST_PDU: Final = 1 << 18


@dataclass(frozen=True)
class NodeSettings:
    """How a node listens.

    Attributes
    ----------
    ae_title : str
        Its own.
    allowed : tuple of str
        AE titles that may send; nobody else may.
    host, port
        Where it listens; port 0 takes a free one.
    max_mb : float
        Largest film in megabytes.
    max_megapixels : float
        Largest image.
    max_waiting : int
        Films that may wait before others are told to come back later.
    max_associations : int
        At a time.
    timeout : float
        Seconds of silence after which an association is ended.
    """

    ae_title: str
    allowed: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 11112
    max_mb: float = 128
    max_megapixels: float = 64
    max_waiting: int = 10_000
    max_associations: int = 16
    timeout: float = 30

    def __post_init__(self) -> None:
        for title in (self.ae_title, *self.allowed):
            if not 1 <= len(title.strip()) <= 16 or not title.isascii() or "\\" in title:
                raise OptionError(f"AE title {title!r}: expected 1 to 16 ASCII characters without backslash")
        if not self.allowed:
            raise OptionError("no AE title is allowed to send; name at least one with --allow")
        for name in ("max_mb", "max_megapixels", "timeout"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise OptionError(f"--{name.replace('_', '-')} is {value}; expected a number above 0")


class Node:
    """Takes films into a queue; used as a context it listens.

    Parameters
    ----------
    queue : FilmQueue
    settings : NodeSettings
    """

    def __init__(self, queue: FilmQueue, settings: NodeSettings) -> None:
        self._queue = queue
        self._settings = settings
        entity = AE(ae_title=settings.ae_title)
        entity.supported_contexts = [
            build_context("1.2.840.10008.1.1"),
            *(build_context(film, list(SYNTAXES)) for film in FILMS),
        ]
        entity.require_calling_aet = list(settings.allowed)
        entity.require_called_aet = True
        entity.maximum_associations = settings.max_associations
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.timeout
        self._entity = entity
        self._server: Any = None

    def __enter__(self) -> Node:
        settings = self._settings
        self._server = self._entity.start_server(
            (settings.host, settings.port),
            block=False,
            evt_handlers=[
                (evt.EVT_C_ECHO, lambda event: _SUCCESS),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_CONN_OPEN, self._bound),
                (evt.EVT_REJECTED, self._rejected),
            ],
        )
        # Each connection has a thread before it says who it is.
        server, most = self._server, 4 * settings.max_associations
        server.verify_request = lambda request, address: len(server.active_associations) < most
        _log.info("%s listens on %s:%d", settings.ae_title, settings.host, self.port)
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._entity.shutdown()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def _bound(self, event: Any) -> None:
        """Let no peer send more than a film: neither in one unit of data nor in many."""
        socket = event.assoc.dul.socket
        receive, most = socket.recv, int(self._settings.max_mb * 1e6) + _LARGEST_PDU
        event.assoc.lungcls_received = 0

        def bounded(size: int) -> Any:
            event.assoc.lungcls_received += size
            if size > _LARGEST_PDU or event.assoc.lungcls_received > most:
                _log.warning("an association is ended: it sends more than %g MB", self._settings.max_mb)
                raise OSError("more data than a film may have")
            return receive(size)

        socket.recv = bounded

    def _rejected(self, event: Any) -> None:
        title = str(getattr(event.assoc.requestor, "ae_title", ""))
        _log.warning("an association from %r is rejected: not allowed, or too many at a time", title)

    def _store(self, event: Any) -> Dataset:
        event.assoc.lungcls_received = 0
        uid = str(event.request.AffectedSOPInstanceUID)
        try:
            data = event.encoded_dataset()
            if len(data) > self._settings.max_mb * 1e6:
                return self._refuse(uid, _NOT_THIS, f"larger than {self._settings.max_mb:g} MB")
            header = pydicom.dcmread(BytesIO(data))
            reason = refusal(header, uid, self._settings.max_megapixels)
        except (
            Exception
        ) as error:  # pydicom raises many kinds for damaged data, and their texts may hold values
            return self._refuse(uid, _CANNOT_READ, f"cannot be read ({type(error).__name__})")
        if reason:
            return self._refuse(uid, _NOT_THIS, reason)
        try:
            if self._queue.waiting() >= self._settings.max_waiting:
                return self._refuse(uid, _OUT_OF_RESOURCES, "too many films wait, send it later")
            new = self._queue.add(uid, data)
        except Exception as error:
            return self._refuse(uid, _OUT_OF_RESOURCES, f"cannot be kept ({type(error).__name__})")
        _log.info("%s: %s", uid, "received" if new else "received again, nothing to do")
        return _status(_SUCCESS)

    def _refuse(self, uid: str, code: int, reason: str) -> Dataset:
        _log.warning("%s: refused: %s", uid, reason)
        return _status(code, reason)


def refusal(header: Dataset, uid: str, max_megapixels: float) -> str:
    """Tell by a header why a film is not taken; empty where it is.

    Parameters
    ----------
    header : Dataset
    uid : str
        SOP Instance UID under which it was sent.
    max_megapixels : float
    """
    if header.get("SOPInstanceUID") != uid:
        return "its SOP Instance UID is not the one it was sent by"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "Rows", "Columns"):
        if not header.get(keyword):
            return f"no {keyword}"
    if header.SOPClassUID not in FILMS:
        return "its SOP class is none of a chest film"
    if "PixelData" not in header:
        return "no PixelData"
    if int(header.get("NumberOfFrames") or 1) != 1:
        return "more than one frame"
    if header.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        return "not grey"
    if int(header.Rows) * int(header.Columns) > max_megapixels * 1e6:
        return f"more than {max_megapixels:g} megapixels"
    part = str(header.get("BodyPartExamined") or "").upper().strip()
    if part in OTHER_PARTS:
        return f"BodyPartExamined is {part}: no chest film"
    if header.get("ViewPosition") in LATERAL:
        return f"ViewPosition is {header.ViewPosition}: no frontal film"
    return ""


def _status(code: int, comment: str = "") -> Dataset:
    status = Dataset()
    status.Status = code
    if comment:
        status.ErrorComment = comment[:64]
    return status
