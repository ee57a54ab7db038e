"""The web service under load: 200 requests from 16 clients at once, and what becomes of its memory.

    python benchmarks/web_load.py [--data DIR] [--requests 200] [--clients 16] [--rounds 4]

Starts ``lungcls serve`` with the released weights on a free port of this machine, sends it X-rays (of the
folder DIR/radiography, or drawn ones without ``--data``), and writes ``benchmarks/results/web_load.json`` and
``.csv``: one row a round, with the requests that were answered, refused and sent again, and lost; times; and
the resident memory of the service after the round, as its own ``/metrics`` tells it. A first round warms up
and is left out.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lungcls.evaluation.results import write_results
from lungcls.phantom import chest_phantom
from lungcls.render.tables import format_table
from lungcls.versions import versions
from lungcls.weights import load_card, released

RESULTS = Path(__file__).parent / "results"
BOUNDARY = "web-load-boundary"


def films(data: Path | None, number: int, seed: int) -> list[bytes]:
    """Files to send, each class of the database as often as it comes."""
    if data is not None:
        paths = sorted((data / "radiography").glob("*/images/*"))
        chosen = np.random.default_rng(seed).choice(len(paths), number, replace=False)
        return [paths[index].read_bytes() for index in chosen]
    found = []
    for index in range(min(number, 8)):
        buffer = io.BytesIO()
        pixels = np.rint(chest_phantom(256, seed=seed + index).image * 255).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def form(content: bytes) -> bytes:
    """A form with one file that asks for all regions and their pictures, as the page does."""
    lines = []
    for picture in ("image", "mask", "overlay", "view"):
        lines += [f"--{BOUNDARY}", 'Content-Disposition: form-data; name="pictures"', "", picture]
    lines += [f"--{BOUNDARY}", 'Content-Disposition: form-data; name="files"; filename="film"', "", ""]
    return "\r\n".join(lines).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


class Clients:
    """Threads that send their requests one after the other, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._local = threading.local()

    def get(self, path: str) -> str:
        """Return the body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def send(self, body: bytes) -> dict[str, Any]:
        """Send a request until it is answered; refusals for want of a place are waited out."""
        started, refused = time.perf_counter(), 0
        while True:
            status, wait, answer = self._post(body)
            if status not in (429, 503):
                break
            refused += 1
            time.sleep(wait)
        whole = status == 200 and len(json.loads(answer)["results"]) == 1
        return {"seconds": time.perf_counter() - started, "refused": refused, "lost": not whole}

    def _post(self, body: bytes) -> tuple[int, float, bytes]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
            self._local.connection = connection
        head = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        try:
            connection.request("POST", "/v1/predict", body, head)
            answer = connection.getresponse()
            return answer.status, float(answer.getheader("Retry-After", 0)), answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self._local.connection = None
            return 0, 0, b""


def metric(text: str, name: str) -> float:
    """Return one value of /metrics."""
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else float("nan")


def load(clients: Clients, bodies: list[bytes], requests: int, number: int) -> dict[str, Any]:
    """Send the requests of one round and measure."""
    before = clients.get("/metrics")
    started = time.perf_counter()
    with ThreadPoolExecutor(number) as pool:
        answers = list(pool.map(clients.send, (bodies[i % len(bodies)] for i in range(requests))))
    seconds = time.perf_counter() - started
    after = clients.get("/metrics")
    times = np.array([answer["seconds"] for answer in answers])
    images, batches = (
        metric(after, f"lungcls_batch_images_{part}") - metric(before, f"lungcls_batch_images_{part}")
        for part in ("sum", "count")
    )
    return {
        "requests": requests,
        "clients": number,
        "lost": sum(answer["lost"] for answer in answers),
        "refused_and_sent_again": sum(answer["refused"] for answer in answers),
        "requests_per_second": requests / seconds,
        "median_seconds": float(np.median(times)),
        "p95_seconds": float(np.quantile(times, 0.95)),
        "images_per_batch": images / batches,
        "resident_mb": metric(after, "process_resident_memory_bytes") / 1e6,
    }


def main() -> None:
    """Run the rounds and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCLS_DATA"))
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    started = time.perf_counter()
    data = Path(arguments.data) if arguments.data else None
    bodies = [form(film) for film in films(data, arguments.requests, arguments.seed)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "lungcls", "serve", "--port", str(port), "--no-access-log"]
    server = subprocess.Popen([*command, "--device", arguments.device], stdout=subprocess.DEVNULL)
    clients = Clients(port)
    try:
        while True:
            if server.poll() is not None:
                raise SystemExit(f"the service stopped with {server.returncode}")
            try:
                health = json.loads(clients.get("/healthz"))
                break
            except OSError:
                time.sleep(0.5)
        rounds = []
        for number in range(arguments.rounds + 1):
            row = {"round": number, **load(clients, bodies, arguments.requests, arguments.clients)}
            print(row, flush=True)
            if number:
                rounds.append(row)
    finally:
        server.terminate()
        server.wait(30)
    payload = {
        "command": "python benchmarks/web_load.py",
        "images": "COVID-19 Radiography Database" if data else "drawn (lungcls.phantom)",
        "seed": arguments.seed,
        "split_hash": load_card("classifier-mask").training_data.get("split_hash"),
        "device": arguments.device,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "weights": health["weights"],
        "regions": [name for name in released() if name.startswith("classifier-")],
        "versions": versions(),
        "duration_seconds": time.perf_counter() - started,
        "lost": sum(row["lost"] for row in rounds),
        "resident_mb_growth": rounds[-1]["resident_mb"] - rounds[0]["resident_mb"],
        "rounds": rounds,
    }
    write_results(RESULTS, "web_load", rounds, payload)
    print(format_table(rounds))


if __name__ == "__main__":
    main()
