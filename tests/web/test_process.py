"""The process that runs the networks: what ends it costs one request, and another takes its place."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from lungcls.errors import WeightsError
from lungcls.web import create_app
from lungcls.web.process import ModelProcess


@pytest.fixture(scope="module")
def client(make_settings: Any) -> Iterator[Any]:
    """A client of an application with a process of its own, as a user has it."""
    with TestClient(create_app(make_settings(timeout=60)), raise_server_exceptions=False) as client:
        yield client


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_dies_at_work_is_replaced_and_its_request_told_so(client: Any, png: bytes) -> None:
    predictor = client.app.state.service.predictor
    assert client.post("/v1/predict", files={"files": png}).status_code == 200
    first = predictor.pid
    os.kill(first, signal.SIGSTOP)  # so that the request is certainly in work when the process dies
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(client.post, "/v1/predict", files={"files": png})
        while client.app.state.service.places.taken == 0:
            pass
        os.kill(first, signal.SIGKILL)
        answer = sent.result()
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:lungcls:worker-died"
    assert client.get("/healthz").status_code == 200
    assert client.post("/v1/predict", files={"files": png}).status_code == 200
    assert predictor.pid != first
    assert not alive(first)
    assert "lungcls_processes_replaced 1.0" in client.get("/metrics").text


def test_a_process_that_dies_at_rest_costs_no_request(client: Any, png: bytes) -> None:
    predictor = client.app.state.service.predictor
    os.kill(predictor.pid, signal.SIGKILL)
    answer = client.post("/v1/predict", files={"files": png})
    # The parent may need a moment to learn of it; a request of that moment is answered with an error.
    assert answer.status_code in (200, 500)
    assert client.post("/v1/predict", files={"files": png}).status_code == 200


def test_a_process_that_hangs_is_replaced(client: Any, png: bytes) -> None:
    service = client.app.state.service
    first = service.predictor.pid
    service.predictor._timeout, kept = 0.5, service.predictor._timeout
    os.kill(first, signal.SIGSTOP)
    answer = client.post("/v1/predict", files={"files": png})
    assert answer.status_code == 504
    service.predictor._timeout = kept
    assert client.post("/v1/predict", files={"files": png}).status_code == 200
    assert not alive(first)


def test_weights_that_are_missing_are_told_when_the_application_is_made(make_settings: Any) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        create_app(make_settings(segmenter="nowhere"))


def test_it_ends_with_its_owner(make_settings: Any) -> None:
    process = ModelProcess(make_settings(), 10)
    process.start()
    pid = process.pid
    assert pid is not None
    process.stop()
    assert not alive(pid)
