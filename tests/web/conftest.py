"""The service with untrained weights, for 32 and 64 pixels."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungcls.phantom import chest_phantom
from lungcls.web import Settings, create_app, process
from lungcls.web.models import Models
from lungcls.web.process import Loaded, ModelProcess
from lungcls.web.server import Server, make_server
from lungcls.weights import load_state, save_weights

NAMES = ("Alpha", "Beta <b>", "Gamma", "Delta")

Encode = Callable[..., bytes]


class InProcess(ModelProcess):
    """Networks in the process of the tests: starting one takes seconds, and few tests are about it."""

    networks: Models | None = None

    def start(self) -> Loaded:
        self.networks = networks = self.networks or Models(self._settings)
        return Loaded(networks.regions, networks.default_region, networks.classes, networks.cards)

    def run(self, function: Any, jobs: Any) -> Any:
        self.start()
        with LOCK:  # the place where a process keeps its networks is one for all
            process._models = self.networks
            return function(jobs)


LOCK = threading.Lock()


def quick_app(settings: Settings) -> Any:
    """Make an application with its networks in this process."""
    return create_app(settings, process=InProcess)


@pytest.fixture(scope="session")
def other_classifier(tiny_classifier: Path, make_card_values: Any) -> Path:
    """Weight file of the region ``full`` with class names that nothing in the package has heard of."""
    _, state = load_state(tiny_classifier)
    values = make_card_values(name="tiny-full", classes=NAMES, region={"name": "full"})
    return save_weights(tiny_classifier.parent, state, **values)


@pytest.fixture(scope="session")
def make_settings(tiny_segmenter: Path, tiny_classifier: Path, other_classifier: Path) -> Any:
    """Settings with the untrained weights, with changes."""

    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {
            "classifiers": (str(tiny_classifier), str(other_classifier)),
            "segmenter": str(tiny_segmenter),
            "gate": None,
            "device": "cpu",
            "max_upload_mb": 2,
            "max_megapixels": 1,
            "max_files": 3,
            "allowed_hosts": ("testserver",),
            **changes,
        }
        return Settings(**values)

    return make


@pytest.fixture(scope="session")
def shared_client(make_settings: Any) -> Iterator[Any]:
    """A client of one application for all tests that change nothing in it."""
    from starlette.testclient import TestClient

    with TestClient(quick_app(make_settings()), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def make_client(make_settings: Any) -> Iterator[Callable[..., Any]]:
    """Make a client of an application of the test's own."""
    from starlette.testclient import TestClient

    clients = []

    def make(**changes: Any) -> Any:
        client = TestClient(quick_app(make_settings(**changes)), raise_server_exceptions=False)
        clients.append(client.__enter__())
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def run_server() -> Iterator[Callable[..., Server]]:
    """Run a service on a free port of this machine, and return its server."""
    running = []

    def start(settings: Settings, **options: Any) -> Server:
        server = make_server(quick_app(settings), port=0, log_level="critical", **options)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        pause = threading.Event()
        while not server.started:
            assert thread.is_alive()
            pause.wait(0.05)
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(30)


def port_of(server: Server) -> int:
    """Return the port that a server listens on."""
    return int(server.servers[0].sockets[0].getsockname()[1])


@pytest.fixture(scope="module")
def serve(run_server: Any) -> Callable[[Settings], int]:
    """Run a service on a free port of this machine, and return the port."""
    return lambda settings: port_of(run_server(settings))


@pytest.fixture(scope="session")
def make_app() -> Callable[[Settings], Any]:
    """Make an application with its networks in this process, and no client."""
    return quick_app


@pytest.fixture(scope="session")
def encode() -> Encode:
    """Encode a phantom as a file."""

    def make(kind: str = "PNG", size: Any = (90, 110), seed: int = 0) -> bytes:
        pixels = np.rint(chest_phantom(size, seed=seed).image * 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def png(encode: Encode) -> bytes:
    """A phantom of 110 by 90 pixels as PNG."""
    return encode()
