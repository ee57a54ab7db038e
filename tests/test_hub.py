"""The hub's protocol, spoken by a small server on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

import lungcls
from lungcls.errors import OptionError, WeightsError
from lungcls.phantom import chest_phantom
from lungcls.weights import load_card

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Repositories in memory."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.cards: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        self._send(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        for name, files in self.server.repositories.items():
            if path.startswith(f"/api/models/{name}/revision/") or path == f"/api/models/{name}":
                siblings = [{"rfilename": file} for file in files]
                return self._json({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings})
            if path.startswith(f"/api/models/{name}/tree/"):
                tree = [
                    {"type": "file", "path": file, "size": len(content), "oid": _oid(content)}
                    for file, content in files.items()
                ]
                return self._json(tree)
            if path.startswith(f"/{name}/resolve/"):
                file = path.split("/", 5)[5]
                if file in files:
                    headers = {"ETag": f'"{_oid(files[file])}"', "X_Repo_Commit": COMMIT}
                    return self._send(200, files[file], **headers)
                return self._send(404, X_Error_Code="EntryNotFound")
        return self._json({"error": "no such repository"}, 404, X_Error_Code="RepoNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.repositories.setdefault(name, {})
            return self._json({"url": f"{self.server.url}/{name}", "name": name})
        if path == "/api/validate-yaml":
            self.server.cards.append(json.loads(body)["content"])
            return self._json({"errors": [], "warnings": []})
        name = "/".join(path.split("/")[3:5])
        if "/preupload/" in path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.repositories[name][line["value"]["path"]] = content
            url = f"{self.server.url}/{name}/commit/{COMMIT}"
            return self._json({"commitUrl": url, "commitOid": COMMIT, "success": True})
        return self._send(404)


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub", reason="the extra hub")
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def pipeline(stages: dict[str, Path]) -> lungcls.Pipeline:
    return lungcls.Pipeline(
        classifier=stages["classification"],
        segmenter=stages["segmentation"],
        gate=None,
        device="cpu",
        coverage=0.8,
    )


@pytest.fixture
def film() -> Any:
    return np.rint(chest_phantom(90, seed=1).image * 255).astype(np.uint8)


def test_a_pipeline_goes_to_the_hub_and_comes_back(
    hub: Hub, pipeline: lungcls.Pipeline, film: Any, tmp_path: Path
) -> None:
    where = {"endpoint": hub.url, "token": "none"}
    url = pipeline.push_to_hub("someone/mine", datasets=["someone/films"], licence="cc-by-nc-4.0", **where)
    assert url.endswith(f"/someone/mine/commit/{COMMIT}")
    files = hub.repositories["someone/mine"]
    assert {Path(file).suffix for file in files} == {".json", ".safetensors", ".md"}
    assert "library_name: lungcls" in hub.cards[0]
    assert "pipeline_tag: image-classification" in hub.cards[0]
    assert "license: cc-by-nc-4.0" in hub.cards[0]
    assert "- someone/films" in hub.cards[0]
    loaded = lungcls.Pipeline.from_pretrained("someone/mine", cache=tmp_path, device="cpu", **where)
    assert loaded.predict(film).probabilities == pipeline.predict(film).probabilities
    assert loaded.coverage == 0.8
    # A second time without the server, out of the cache.
    again = lungcls.Pipeline.from_pretrained("someone/mine", cache=tmp_path, device="cpu", offline=True)
    assert again.classifier.card == pipeline.classifier.card
    with pytest.raises(WeightsError, match="someone/other: not had from the hub"):
        lungcls.Pipeline.from_pretrained("someone/other", cache=tmp_path, **where)


def test_a_folder_is_as_good_and_its_hashes_are_checked(
    pipeline: lungcls.Pipeline, film: Any, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub", reason="writes the model card")
    folder = pipeline.save_pretrained(tmp_path / "mine")
    loaded = lungcls.Pipeline.from_pretrained(folder, device="cpu", coverage=None)
    assert loaded.predict(film).probabilities == pipeline.predict(film).probabilities
    assert loaded.coverage is None
    weights = folder / "small-cnn.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(WeightsError, match="SHA-256"):
        lungcls.Pipeline.from_pretrained(folder, device="cpu").predict(film)


def test_released_weights_state_their_figures_with_intervals(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="comes with huggingface_hub")
    lungcls.Pipeline(device="cpu").save_pretrained(tmp_path)
    _, head, text = (tmp_path / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    values = yaml.safe_load(head)
    results = [result for model in values["model-index"] for result in model["results"]]
    figures = {metric["type"]: metric for result in results for metric in result["metrics"]}
    card = load_card("classifier-mask").metrics["validation"]["overall"]["macro_f1"]
    assert {"accuracy", "macro_f1", "dice_mean"} <= figures.keys()
    assert f"({card['low']:.3f} to {card['high']:.3f})" in text
    assert "classifier-full" in text  # what stands in for films without lungs


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stages": {"classifier": "../evil", "segmenter": "x"}}, "stem of a file's name"),
        ({"options": {"device": "cuda"}}, "unknown entries device"),
        ({"stages": {"segmenter": "x"}}, "expected a classifier"),
        ({"format": 9}, "format 1"),
    ],
)
def test_what_a_strange_folder_says_is_checked(changes: Any, says: str, tmp_path: Path) -> None:
    stated = {"format": 1, "stages": {"classifier": "a", "segmenter": "b"}, "options": {}, **changes}
    (tmp_path / "lungcls.json").write_text(json.dumps(stated), encoding="utf-8")
    with pytest.raises(WeightsError, match=says):
        lungcls.Pipeline.from_pretrained(tmp_path)


def test_loaded_stages_and_other_folders_are_refused(pipeline: lungcls.Pipeline, tmp_path: Path) -> None:
    shared = lungcls.Pipeline(classifier=pipeline.classifier, segmenter=pipeline.segmenter, gate=None)
    with pytest.raises(OptionError, match="loaded Classifier, which has no file"):
        shared.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"no lungcls\.json"):
        lungcls.Pipeline.from_pretrained(tmp_path)
