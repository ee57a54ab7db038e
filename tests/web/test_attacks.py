"""Clients that mean no good, over real connections to this machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lungcls.web.connections import Connection

BOUNDARY = "attack"
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'.encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


class Impatient(Connection):
    """Waits as long as a test may."""

    head_seconds = 0.5
    stall_seconds = 0.5


def post_head(path: str, *more: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
    ]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def address_of(server: Any) -> tuple[str, int]:
    return ("127.0.0.1", int(server.servers[0].sockets[0].getsockname()[1]))


def send(address: tuple[str, int], content: bytes, path: str = "/v1/segment") -> tuple[int, Any]:
    """Send a whole request as an honest client does, and return status and document."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    with contextlib.closing(connection):
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connection.request("POST", path, HEAD + content + TAIL, kind)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def read_all(connection: socket.socket, seconds: float = 20) -> bytes:
    """Return what comes until the other side closes."""
    connection.settimeout(seconds)
    found = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            found += chunk
    return bytes(found)


@contextlib.contextmanager
def connections(address: tuple[str, int], number: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections that send something and then wait."""
    opened = []
    try:
        for _ in range(number):
            opened.append(socket.create_connection(address, timeout=20))
            with contextlib.suppress(OSError):  # it may have been ended already, which is the point
                opened[-1].sendall(first)
        yield opened
    finally:
        for each in opened:
            each.close()


@pytest.fixture(scope="module")
def address(run_server: Any, make_settings: Any) -> tuple[str, int]:
    """Of a service with few places for uploads and connections."""
    settings = make_settings(max_uploads=8, max_requests=4, upload_timeout=5)
    return address_of(run_server(settings, limit_concurrency=40, http=Impatient, timeout_keep_alive=1))


def test_half_sent_bodies_keep_nobody_out(address: Any, png: bytes) -> None:
    half = post_head("/v1/predict", "Content-Length: 100000") + HEAD + b"x" * 100
    with connections(address, 32, half) as attackers:
        assert [send(address, png)[0] for _ in range(5)] == [200] * 5
        answers = read_all(attackers[0])
    assert answers.startswith(b"HTTP/1.1 408 ")
    assert b"urn:lungcls:upload-timeout" in answers


def test_bodies_that_come_drop_by_drop_keep_nobody_out(address: Any, png: bytes) -> None:
    stop = threading.Event()

    def drip(attacker: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                attacker.sendall(b"x")

    half = post_head("/v1/predict", "Content-Length: 100000") + HEAD
    with connections(address, 16, half) as attackers, ThreadPoolExecutor(16) as pool:
        for attacker in attackers:
            pool.submit(drip, attacker)
        try:
            assert [send(address, png)[0] for _ in range(5)] == [200] * 5
            assert read_all(attackers[-1]).startswith(b"HTTP/1.1 408 ")
        finally:
            stop.set()


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "], ids=["idle", "head"])
def test_connections_without_a_request_keep_nobody_out(address: Any, png: bytes, first: bytes) -> None:
    with connections(address, 200, first) as attackers:
        assert send(address, png)[0] == 200
        assert read_all(attackers[-1]) == b""  # ended, all of them, within the time for a head


@pytest.mark.slow
def test_ten_thousand_connections_keep_nobody_out(run_server: Any, make_settings: Any, png: bytes) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12_000:
        pytest.skip(f"this system allows {hard} open files, and the test needs 12,000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = run_server(make_settings(), limit_concurrency=1000)
    half = post_head("/v1/predict", "Content-Length: 100000") + HEAD
    with connections(address_of(server), 5_000), connections(address_of(server), 5_000, half):
        started = time.perf_counter()
        assert [send(address_of(server), png)[0] for _ in range(20)] == [200] * 20
        assert time.perf_counter() - started < 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_clients_that_do_not_take_their_answer_keep_nobody_out(address: Any, encode: Any, png: bytes) -> None:
    film = encode("PNG", 900)
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="pictures"\r\n\r\n'
    fields = b"".join(f"{field}{name}\r\n".encode() for name in ("image", "overlay", "mask"))
    body = fields + HEAD + film + TAIL
    attackers = []
    try:
        for _ in range(6):  # more than there are places
            attacker = socket.socket()
            attacker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            attacker.connect(address)
            attacker.sendall(post_head("/v1/segment", f"Content-Length: {len(body)}") + body)
            assert attacker.recv(12) == b"HTTP/1.1 200"
            attackers.append(attacker)
        assert send(address, png)[0] == 200
        time.sleep(2)
        found = read_all(attackers[0])
        length = int(found.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert len(found) < length  # the connection was ended before the answer was taken
    finally:
        for attacker in attackers:
            attacker.close()


def test_a_chunked_body_beyond_the_limit_is_refused(address: Any) -> None:
    with socket.create_connection(address, timeout=20) as attacker:
        attacker.sendall(post_head("/v1/predict", "Transfer-Encoding: chunked"))
        with contextlib.suppress(OSError):
            attacker.sendall(b"%x\r\n%s\r\n" % (len(HEAD), HEAD))
            for _ in range(100):
                attacker.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        assert b"urn:lungcls:upload-too-large" in read_all(attacker)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\r\n HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000,
        post_head("/v1/predict", "Content-Length: -1"),
        post_head("/v1/predict", "Content-Length: 5", "Content-Length: 6"),
        post_head("/v1/predict", "Transfer-Encoding: gzip"),
    ],
)
def test_what_is_no_http_is_refused(address: Any, sent: bytes) -> None:
    with socket.create_connection(address, timeout=20) as attacker:
        attacker.sendall(sent)
        answer = read_all(attacker)
    assert answer.split(b" ")[1] in (b"400", b"501")
    assert b"application/problem+json" in answer
    assert b"x-content-type-options: nosniff" in answer


def test_two_lengths_smuggle_no_second_request(address: Any) -> None:
    with socket.create_connection(address, timeout=20) as attacker:
        attacker.sendall(
            post_head("/v1/predict", "Content-Length: 4", "Transfer-Encoding: chunked")
            + b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"
        )
        answer = read_all(attacker)
    assert b"200 OK" not in answer
    assert b"lungcls_requests_total" not in answer


@pytest.mark.parametrize("number", [16, 200])
def test_of_many_clients_at_once_none_is_lost(
    run_server: Any, make_settings: Any, png: bytes, number: int
) -> None:
    address = address_of(run_server(make_settings()))
    with ThreadPoolExecutor(number) as pool:
        answers = list(pool.map(lambda _: send(address, png), range(number)))
    assert [status for status, _ in answers] == [200] * number
    assert all(len(document["results"]) == 1 for _, document in answers)


def test_a_stop_finishes_what_runs_and_waits_for_nobody_else(
    run_server: Any, make_settings: Any, png: bytes
) -> None:
    server = run_server(make_settings())
    address, service = address_of(server), server._service
    begun, go, run = threading.Event(), threading.Event(), service.predictor.run

    def held(function: Any, jobs: Any) -> Any:
        begun.set()
        assert go.wait(30)
        return run(function, jobs)

    service.predictor.run = held
    half = post_head("/v1/predict", "Content-Length: 100000") + HEAD
    with connections(address, 3, half) as attackers, ThreadPoolExecutor(4) as pool:
        running = [pool.submit(send, address, png) for _ in range(4)]
        assert begun.wait(30)
        while service.places.taken < 4 or len(service.arrivals.coming) < 3:
            time.sleep(0.01)
        server.should_exit = True
        assert b"urn:lungcls:not-ready" in read_all(attackers[0])
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address)
        go.set()
        assert [future.result()[0] for future in running] == [200] * 4
    started = time.perf_counter()
    while service._predictions.alive:
        assert time.perf_counter() - started < 10
        time.sleep(0.01)
