"""What the service refuses, and how it says so."""

from __future__ import annotations

import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from lungcls.web.middleware import HEADERS


def problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    """Check that an answer is a problem object of this kind, and return it."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:lungcls:{kind}"
    assert document["status"] == status
    assert document["detail"]
    for header, value in HEADERS.items():
        assert answer.headers[header] == value
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    return document


def png_head(width: int, height: int) -> bytes:
    """The start of a PNG that claims a size and holds hardly a pixel."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(9)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


class Held:
    """Networks that wait until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.batches: list[int] = []


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Held]]:
    """Let the networks of a client's application wait."""
    held = Held()

    def make(client: Any) -> Held:
        predictor = client.app.state.service.predictor
        run = predictor.run

        def waiting(function: Any, jobs: Any) -> Any:
            held.batches.append(len(jobs))
            held.begun.set()
            assert held.release.wait(30)
            return run(function, jobs)

        monkeypatch.setattr(predictor, "run", waiting)
        return held

    yield make
    held.release.set()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen within 30 seconds")


@pytest.mark.parametrize(
    ("content", "status", "kind", "words"),
    [
        (b"hello", 415, "not-an-image", "Found text"),
        (b"GIF89a" + bytes(200), 415, "not-an-image", "Found a GIF"),
        (b"%PDF-1.7", 415, "not-an-image", "Found a PDF"),
        (b"", 415, "not-an-image", "Found no bytes"),
        (b"\x00\x01\x02" * 100, 415, "not-an-image", "unknown content"),
        (png_head(40000, 40000), 413, "image-too-large", "expected at most 1"),
        (png_head(64, 64), 422, "damaged-image", "cannot be decoded"),
        (bytes(128) + b"DICM" + bytes(64), 422, "damaged-image", "DICOM"),
    ],
)
def test_a_bad_file_has_its_status(
    shared_client: Any, content: bytes, status: int, kind: str, words: str
) -> None:
    answer = shared_client.post("/v1/predict", files={"files": ("film.dcm", content)})
    document = problem(answer, status, kind)
    assert words in document["detail"]
    assert document["errors"][0]["name"] == "film.dcm"
    assert document["errors"][0]["index"] == 0


@pytest.mark.parametrize("path", ["/v1/segment", "/v1/explain"])
def test_the_other_routes_refuse_alike(shared_client: Any, path: str, png: bytes) -> None:
    problem(shared_client.post(path, files={"files": b"hello"}), 415, "not-an-image")
    problem(shared_client.post(path, files={"files": png[:300]}), 422, "damaged-image")


def test_all_bad_files_of_a_request_are_named(shared_client: Any, png: bytes) -> None:
    sent = [("good.png", png), ("cut.png", png[:300]), ("huge.png", png_head(9000, 9000))]
    answer = shared_client.post("/v1/predict", files=[("files", each) for each in sent])
    document = problem(answer, 422, "several-problems")
    found = [(error["index"], error["name"], error["type"]) for error in document["errors"]]
    assert found == [
        (1, "cut.png", "urn:lungcls:damaged-image"),
        (2, "huge.png", "urn:lungcls:image-too-large"),
    ]


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("/v1/predict", {"region": "everything"}, "full, mask"),
        ("/v1/predict", {"regions": "mask"}, "regions"),
        ("/v1/predict", {"pictures": "cat"}, "pictures"),
        ("/v1/predict", {"max_side": "63"}, "max_side"),
        ("/v1/predict", {"max_side": ["64", "65"]}, "max_side"),
        ("/v1/segment", {"region": "mask"}, "region"),
        ("/v1/explain", {"region": "nowhere"}, "full, mask"),
        ("/v1/explain", {"method": "guess"}, "gradcam"),
        ("/v1/explain", {"region": "full", "target": "COVID"}, "Alpha"),
    ],
)
def test_a_field_that_is_not_valid_is_named(
    shared_client: Any, png: bytes, path: str, fields: dict[str, Any], words: str
) -> None:
    answer = shared_client.post(path, files={"files": png}, data=fields)
    assert words in problem(answer, 422, "invalid-field")["detail"]


def test_a_file_in_another_field_is_refused(shared_client: Any, png: bytes) -> None:
    problem(shared_client.post("/v1/predict", files={"image": png}), 422, "invalid-field")


def test_a_form_without_a_file_is_refused(shared_client: Any) -> None:
    problem(shared_client.post("/v1/predict", files={"region": (None, "mask")}), 422, "no-file")
    problem(shared_client.post("/v1/predict", files={"files": ("", b"")}), 422, "no-file")


@pytest.mark.parametrize("sent", [{"json": {}}, {"data": {"a": "b"}}, {"content": b"abc"}, {}])
def test_other_than_a_form_is_refused(shared_client: Any, sent: dict[str, Any]) -> None:
    problem(shared_client.post("/v1/predict", **sent), 415, "not-multipart")


@pytest.mark.parametrize("head", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_broken_form_is_refused(shared_client: Any, head: str) -> None:
    answer = shared_client.post("/v1/predict", content=b"--y\r\nabc", headers={"content-type": head})
    problem(answer, 400, "malformed")


def test_a_form_that_ends_too_early_is_refused(shared_client: Any, png: bytes) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = shared_client.post("/v1/predict", content=head + png, headers=kind)
    assert "too early" in problem(answer, 400, "malformed")["detail"]
    whole = shared_client.post("/v1/predict", content=head + png + b"\r\n--x--\r\n", headers=kind)
    assert whole.status_code == 200


def test_a_file_needs_no_file_name(shared_client: Any, png: bytes) -> None:
    answer = shared_client.post("/v1/predict", files={"files": (None, png)})
    assert answer.json()["results"][0]["file"]["name"] == "image-1"


def test_a_name_beyond_ascii_is_kept(shared_client: Any, png: bytes) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="R\xc3\xb6ntgen.png"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = shared_client.post("/v1/segment", content=body + png + b"\r\n--x--\r\n", headers=kind)
    assert answer.json()["results"][0]["file"]["name"] == "Röntgen.png"


def test_long_and_many_fields_are_refused(shared_client: Any, png: bytes) -> None:
    for data in ({"region": "x" * 2000}, {"pictures": ["mask"] * 40}):
        problem(shared_client.post("/v1/predict", files={"files": png}, data=data), 422, "invalid-field")


def test_more_files_than_allowed_are_refused(shared_client: Any, png: bytes) -> None:
    problem(shared_client.post("/v1/predict", files=[("files", png)] * 4), 413, "too-many-files")
    problem(shared_client.post("/v1/explain", files=[("files", png)] * 2), 413, "too-many-files")


def test_a_body_beyond_the_limit_is_refused_by_its_head(shared_client: Any) -> None:
    answer = shared_client.post("/v1/predict", files={"files": bytes(2_100_000)})
    assert "2 MB" in problem(answer, 413, "upload-too-large")["detail"]


def test_a_body_beyond_the_limit_is_refused_while_it_comes(shared_client: Any) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(30):
            yield bytes(100_000)

    answer = shared_client.post(
        "/v1/predict", content=body(), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert "content-length" not in answer.request.headers
    problem(answer, 413, "upload-too-large")


def test_no_upload_is_written_to_the_disk(
    shared_client: Any, encode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("an upload goes to the disk")

    monkeypatch.setattr(tempfile, "_get_default_tempdir", refuse)
    monkeypatch.setattr(tempfile, "tempdir", None)  # whatever wants a temporary file asks for its folder anew
    content = encode("BMP") + bytes(1_200_000)  # web frameworks keep about 1 MiB in memory
    assert shared_client.post("/v1/predict", files={"files": content}).status_code == 200


def test_paths_and_methods_that_do_not_exist(shared_client: Any) -> None:
    problem(shared_client.get("/v2/predict"), 404, "http-404")
    answer = shared_client.get("/v1/predict")
    problem(answer, 405, "http-405")
    assert answer.headers["allow"] == "POST"
    problem(shared_client.get("/static/../app.py"), 404, "http-404")
    problem(shared_client.get("/static/%2e%2e/app.py"), 404, "http-404")


def test_one_request_more_than_there_are_places_is_refused_at_once(
    make_client: Any, hold: Any, png: bytes
) -> None:
    client = make_client(max_requests=2)
    held = hold(client)
    service = client.app.state.service
    with ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(client.post, "/v1/predict", files={"files": png}) for _ in range(2)]
        wait_until(lambda: service.places.taken == 2)
        answer = client.post("/v1/predict", files={"files": png})
        problem(answer, 429, "busy")
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/healthz").status_code == 200
        held.release.set()
        assert [future.result().status_code for future in accepted] == [200, 200]
    assert service.places.taken == 0
    assert client.post("/v1/predict", files={"files": png}).status_code == 200


def test_requests_that_wait_make_one_batch(make_client: Any, hold: Any, png: bytes) -> None:
    client = make_client(batch_size=4)
    held = hold(client)
    service = client.app.state.service
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(client.post, "/v1/predict", files={"files": png})]
        assert held.begun.wait(30)
        answers += [pool.submit(client.post, "/v1/predict", files={"files": png}) for _ in range(5)]
        wait_until(lambda: service._predictions.waiting == 5)
        held.release.set()
        assert [future.result().status_code for future in answers] == [200] * 6
    assert held.batches == [1, 4, 1]


def test_a_request_that_waits_too_long_is_told_so(make_client: Any, hold: Any, png: bytes) -> None:
    client = make_client(timeout=0.2, batch_size=1)
    held = hold(client)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/predict", files={"files": png})
        assert held.begun.wait(30)
        second = client.post("/v1/predict", files={"files": png})
        problem(first.result(), 504, "worked-too-long")
        problem(second, 503, "waited-too-long")
        assert int(second.headers["retry-after"]) > 0
    held.release.set()
    assert client.app.state.service.places.taken == 0


def test_a_body_that_does_not_come_is_refused(make_settings: Any, make_app: Any) -> None:
    app = make_app(make_settings(upload_timeout=0.05))
    sent: list[dict[str, Any]] = []
    begun = False

    async def receive() -> dict[str, Any]:
        nonlocal begun
        if begun:
            await anyio.sleep_forever()
        begun = True
        return {"type": "http.request", "body": b"--x\r\n", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"content-type", b"multipart/form-data; boundary=x")],
    }
    anyio.run(app, scope, receive, send)
    assert sent[0]["status"] == 408
    assert app.state.service.places.taken == 0


def test_a_refused_body_is_read_to_its_end_before_the_answer(make_settings: Any, make_app: Any) -> None:
    app = make_app(make_settings())
    events: list[str] = []

    async def receive() -> dict[str, Any]:
        events.append("read")
        return {"type": "http.request", "body": bytes(500_000), "more_body": len(events) < 6}

    async def send(message: Any) -> None:
        events.append(f"{message['type']} {message.get('status', '')}")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "query_string": b"",
        "headers": [
            (b"host", b"testserver"),
            (b"content-type", b"multipart/form-data; boundary=x"),
            (b"content-length", b"3000000"),
        ],
    }
    anyio.run(app, scope, receive, send)
    assert events == ["read"] * 6 + ["http.response.start 413", "http.response.body "]


def test_what_nobody_foresaw_is_told_without_a_trace(
    make_client: Any, png: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client()

    def fail(function: Any, jobs: Any) -> Any:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(client.app.state.service.predictor, "run", fail)
    answer = client.post("/v1/predict", files={"files": png})
    problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "/secret/path" in caplog.text
    monkeypatch.undo()
    assert client.post("/v1/predict", files={"files": png}).status_code == 200


def test_health_tells_when_the_networks_have_stopped(make_client: Any, png: bytes) -> None:
    client = make_client()
    client.app.state.service.stop()
    problem(client.get("/healthz"), 503, "not-ready")
    problem(client.post("/v1/predict", files={"files": png}), 503, "not-ready")


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/v1/models", "/healthz", "/nothing", "/metrics"])
def test_every_answer_has_the_security_headers(shared_client: Any, path: str) -> None:
    answer = shared_client.get(path)
    for header, value in HEADERS.items():
        assert answer.headers[header] == value
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    "changes",
    [{"max_files": 0}, {"timeout": -1}, {"max_upload_mb": float("nan")}, {"max_memory_mb": 1}],
)
def test_settings_that_cannot_be_are_refused(make_settings: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        make_settings(**changes)
