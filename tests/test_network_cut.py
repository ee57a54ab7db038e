"""Nothing is fetched at run time: prediction and service with the network cut, and every attempt noted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import socket, sys

attempts = []

def note(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1"):
            attempts.append(address)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        if arguments[0] not in ("127.0.0.1", "::1", "localhost", "", None):
            attempts.append(arguments[0])

sys.addaudithook(note)
try:
    socket.create_connection(("192.0.2.1", 80), 1)  # of no one
except OSError:
    pass
else:
    sys.exit("the network is not cut")
assert attempts, "attempts are not noted"
attempts.clear()


def main():
    import lungcls
    from lungcls.phantom import chest_phantom

    film = chest_phantom(256, seed=0).image.astype("float32")
    assert lungcls.predict(film).probabilities
    import io
    import numpy as np
    from PIL import Image
    from starlette.testclient import TestClient
    from lungcls.web import Settings, create_app

    buffer = io.BytesIO()
    Image.fromarray((film * 255).astype(np.uint8)).save(buffer, "PNG")
    settings = Settings(allowed_hosts=("testserver",), timeout=300, explain_timeout=300)
    with TestClient(create_app(settings)) as client:
        assert client.get("/").status_code == 200
        for path in ("/v1/predict", "/v1/explain"):
            answer = client.post(path, files={"files": buffer.getvalue()})
            assert answer.status_code == 200, answer.text
    import lungcls.training.train  # with albumentations, which looks for a newer version of itself
    assert not attempts, attempts


if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_nothing_is_fetched_at_run_time(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], capture_output=True).returncode:
        pytest.skip("this system cannot cut the network off a process (unshare -rn)")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [unshare, "-rn", sys.executable, program], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
