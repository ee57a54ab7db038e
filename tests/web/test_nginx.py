"""The configuration in docs/nginx, run by a real nginx on this machine."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = Path(__file__).parents[2] / "docs" / "nginx" / "lungcls.conf"
HOST = "films.example.org"
PASSWORD = {"Authorization": "Basic " + base64.b64encode(b"reader:open sesame").decode()}


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def proxy(
    serve: Any, make_settings: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, int, Path]]:
    """Ports of nginx, plain and encrypted, and its folder."""
    nginx, openssl = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin"), shutil.which("openssl")
    if nginx is None or openssl is None:
        pytest.skip("nginx or openssl is not installed: the documented configuration is not tried")
    if not CONFIGURATION.is_file():
        pytest.skip("the tests run without the checkout: there is no configuration to try")
    service = serve(make_settings(max_upload_mb=32, allowed_hosts=(HOST,)))
    folder = tmp_path_factory.mktemp("nginx")
    plain, encrypted = free_ports(2)
    text = CONFIGURATION.read_text(encoding="utf-8")
    for written, here in (
        ("/etc/nginx/lungcls", str(folder / "lungcls")),
        ("127.0.0.1:8000", f"127.0.0.1:{service}"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{encrypted} ssl;"),
    ):
        assert written in text
        text = text.replace(written, here)
    (folder / "lungcls.conf").write_text(
        f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
        events {{ worker_connections 256; }}
        http {{ access_log {folder}/access.log;
        client_body_temp_path {folder}/body; proxy_temp_path {folder}/answer;
        {text} }}""",
        encoding="utf-8",
    )
    hashed = subprocess.run(
        [openssl, "passwd", "-apr1", "open sesame"], capture_output=True, text=True, check=True
    )
    (folder / "lungcls.htpasswd").write_text(f"reader:{hashed.stdout}", encoding="utf-8")
    subject = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    files = ["-keyout", str(folder / "lungcls.key"), "-out", str(folder / "lungcls.crt")]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)  # nginx, started by root, works as another user
    for path in folder.parents:
        if path.stat().st_uid == folder.stat().st_uid and path.name.startswith(("pytest", "popen")):
            path.chmod(0o755)
    process = subprocess.Popen(
        [nginx, "-p", str(folder), "-c", str(folder / "lungcls.conf")], stderr=subprocess.PIPE
    )
    pause = threading.Event()
    while True:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        try:
            socket.create_connection(("127.0.0.1", encrypted), 1).close()
            break
        except OSError:
            pause.wait(0.05)
    yield plain, encrypted, folder
    process.terminate()
    process.communicate(timeout=30)


class _Connection(http.client.HTTPSConnection):
    """Reaches the host of the certificate on this machine."""

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), 60)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.host)


def ask(proxy: Any, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    _, port, folder = proxy
    context = ssl.create_default_context(cafile=str(folder / "lungcls.crt"))
    connection = _Connection(HOST, port, context=context)
    connection.context = context
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.content = answer.read()
    connection.close()
    return answer


def form(content: bytes) -> tuple[bytes, dict[str, str]]:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="film.png"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    return head + content + b"\r\n--x--\r\n", {**kind, **PASSWORD}


def test_plain_requests_are_sent_to_the_encrypted_address(proxy: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy[0], timeout=30)
    connection.request("GET", "/v1/models", headers={"Host": HOST})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Location")) == (301, f"https://{HOST}/v1/models")
    connection.close()


@pytest.mark.parametrize("path", ["/", "/v1/models", "/static/app.js", "/openapi.json"])
def test_nothing_is_to_be_had_without_the_password(proxy: Any, path: str) -> None:
    assert ask(proxy, "GET", path).status == 401
    wrong = base64.b64encode(b"reader:guess").decode()
    assert ask(proxy, "GET", path, Authorization=f"Basic {wrong}").status == 401
    answer = ask(proxy, "GET", path, **PASSWORD)
    assert answer.status == 200
    assert answer.getheader("Strict-Transport-Security")
    assert "default-src 'none'" in answer.getheader("Content-Security-Policy")


def test_an_image_goes_through_and_leaves_nothing_on_the_disk(proxy: Any, png: bytes) -> None:
    body, headers = form(png + bytes(8_000_000))
    answer = ask(proxy, "POST", "/v1/segment", body, **headers)
    assert answer.status == 200
    assert json.loads(answer.content)["results"][0]["file"]["name"] == "film.png"
    log = (proxy[2] / "error.log").read_text(encoding="utf-8")
    assert "temporary file" not in log  # nginx warns when it buffers to the disk


def test_both_limits_refuse_what_is_too_large(proxy: Any) -> None:
    body, headers = form(bytes(33_000_000))
    answer = ask(proxy, "POST", "/v1/segment", body, **headers)
    assert answer.status == 413
    assert json.loads(answer.content)["type"] == "urn:lungcls:upload-too-large"
    answer = ask(proxy, "POST", "/v1/segment", None, **{**headers, "Content-Length": "90000000"})
    assert answer.status == 413


def test_the_counters_are_for_this_machine(proxy: Any) -> None:
    answer = ask(proxy, "GET", "/metrics")
    assert answer.status == 200
    assert b"lungcls_requests_total" in answer.content


def test_a_rush_of_requests_is_slowed_down(proxy: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    statuses = [ask(proxy, "GET", "/static/icon.svg", **PASSWORD).status for _ in range(12)]
    assert set(statuses) == {200}  # a page's worth is no rush
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(ask, proxy, "GET", "/static/icon.svg", **PASSWORD) for _ in range(400)]
        assert 429 in {future.result().status for future in futures}
