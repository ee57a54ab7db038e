"""What is turned away at the door."""

from __future__ import annotations

from typing import Any

import pytest


def post(client: Any, png: bytes, **headers: str) -> Any:
    return client.post("/v1/segment", files={"files": png}, headers=headers)


def kind(answer: Any) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"].removeprefix("urn:lungcls:"))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "testserver.evil.example",
        "127.0.0.1.evil.example",
        "10.1.2.3",
        "[::2]",
        "[",
        "a@b",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/v1/models", "/static/app.js", "/metrics", "/nowhere"])
def test_a_foreign_host_is_refused(shared_client: Any, host: str, path: str) -> None:
    answer = shared_client.get(path, headers={"host": host})
    assert (answer.status_code, kind(answer)) == (400, "foreign-host")


@pytest.mark.parametrize(
    "host", ["testserver", "TESTSERVER:8000", "localhost", "localhost:1", "127.0.0.1:80", "[::1]:8000"]
)
def test_the_names_of_this_machine_are_its_own(shared_client: Any, host: str) -> None:
    assert shared_client.get("/healthz", headers={"host": host}).status_code == 200


def test_names_can_be_allowed(make_client: Any) -> None:
    client = make_client(allowed_hosts=("films.example.org", "*.hospital.example"))
    for host in ("films.example.org", "a.hospital.example", "a.b.hospital.example:443"):
        assert client.get("/healthz", headers={"host": host}).status_code == 200
    for host in ("hospital.example", "evilhospital.example", "example.org", "testserver"):
        assert client.get("/healthz", headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://testserver:81", "host": "testserver:80"},
        {"origin": "https://testserver.evil.example"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_site_cannot_post(shared_client: Any, png: bytes, headers: dict[str, str]) -> None:
    answer = post(shared_client, png, **headers)
    assert (answer.status_code, kind(answer)) == (403, "foreign-origin")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://testserver"},
        {"origin": "https://testserver"},  # behind a proxy with TLS
        {"origin": "http://localhost:8000", "host": "localhost:8000", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_the_own_page_and_programs_can_post(shared_client: Any, png: bytes, headers: dict[str, str]) -> None:
    assert post(shared_client, png, **headers).status_code == 200


def test_a_link_from_another_site_may_be_followed(shared_client: Any) -> None:
    answer = shared_client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_no_other_site_is_let_in_by_cors(shared_client: Any) -> None:
    ask = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    answer = shared_client.options("/v1/predict", headers=ask)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/v1/models", "/healthz", "/openapi.json", "/static/app.js"])
@pytest.mark.parametrize("query", ["region=mask", "a=1&b", "url=http://127.0.0.1:1/x", "%00", "="])
def test_an_option_in_the_address_is_refused(shared_client: Any, path: str, query: str) -> None:
    answer = shared_client.get(f"{path}?{query}")
    assert (answer.status_code, kind(answer)) == (422, "unknown-option")


def test_the_refusal_names_the_option(shared_client: Any, png: bytes) -> None:
    answer = shared_client.post("/v1/predict?regions=mask&max_side=9", files={"files": png})
    assert "(regions, max_side)" in answer.json()["detail"]


def test_a_compressed_body_is_refused(shared_client: Any, png: bytes) -> None:
    answer = post(shared_client, png, **{"content-encoding": "gzip"})
    assert (answer.status_code, kind(answer)) == (415, "compressed-body")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused(shared_client: Any, method: str) -> None:
    for path in ("/v1/predict", "/v1/segment", "/v1/explain"):
        answer = shared_client.request(method, path)
        assert (answer.status_code, kind(answer)) == (405, "http-405")
    if method != "GET":
        for path in ("/", "/healthz", "/v1/models", "/metrics"):
            assert shared_client.request(method, path).status_code == 405
