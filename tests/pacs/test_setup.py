"""The set-up of docs/pacs: lungcls takes its command lines, and without Docker it answers films."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from pydicom.dataset import Dataset

pytest.importorskip("dicomweb_client", reason="needs the extra pacs")
pytest.importorskip("pynetdicom", reason="needs the extra pacs")

from pynetdicom import AE

from lungcls.cli.main import app
from lungcls.pacs.dicomweb import connect

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pacs"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
DX = "1.2.840.10008.5.1.4.1.1.1.1"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the tests run without the checkout")


def compose_file(name: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="reads compose files")
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return found


def command_lines() -> list[list[str]]:
    """Words of ``lungcls`` in both compose files and in the document's shell blocks."""
    lines = []
    for name in ("docs/pacs/compose.yml", "compose.yaml"):
        for service in compose_file(name)["services"].values():
            for key in ("command", "entrypoint"):
                words = service.get(key, [])
                lines.append(shlex.split(words) if isinstance(words, str) else words)
    document = (ROOT / "docs" / "pacs.md").read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", document, re.DOTALL):
        lines += [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    return [line[1:] for line in lines if line and line[0] == "lungcls"]


def parsed(words: list[str]) -> dict[str, Any]:
    """What the command line makes of words; it raises where they are no use of a command."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("lungcls", list(words))
    while hasattr(group, "resolve_command"):
        words = [*context._protected_args, *context.args]
        name, group, words = group.resolve_command(context, words)
        context = group.make_context(name, words, parent=context)
        group = context.command
    return dict(context.params)


def test_every_command_line_is_one_that_lungcls_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    for name in ("film.dcm", "project.key"):
        (tmp_path / name).touch()
    found = command_lines()
    assert len(found) >= 8
    for words in found:
        parsed([*words, "films"] if words == ["predict"] else words)
    with pytest.raises(Exception, match=r"No such option|--alow"):
        parsed(["dicom", "serve", "--alow", "ORTHANC", "--to", "ORTHANC@127.0.0.1:4242"])


def test_orthanc_and_lungcls_name_each_other_and_every_file_is_there() -> None:
    document = compose_file("docs/pacs/compose.yml")
    both = document["services"]
    settings = json.loads((FOLDER / "orthanc.json").read_text())
    node = parsed(shlex.split(both["lungcls"]["command"])[1:])
    assert settings["DicomModalities"]["lungcls"] == [node["aet"], "127.0.0.1", node["port"]]
    assert node["allow"] == [settings["DicomAet"]]
    assert node["to"] == f"{settings['DicomAet']}@127.0.0.1:{settings['DicomPort']}"
    assert both["lungcls"]["network_mode"] == "service:orthanc"
    assert {f"127.0.0.1:{port}:{port}" for port in (settings["HttpPort"], settings["DicomPort"])} == set(
        both["orthanc"]["ports"]
    )
    mounted = [mount.split(":")[0] for service in both.values() for mount in service["volumes"]]
    assert all(
        (FOLDER / mount).is_file() if mount.startswith(".") else mount in document["volumes"]
        for mount in mounted
    )
    assert all((FOLDER / script).is_file() for script in settings["LuaScripts"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The document's set-up without Docker, on free ports and with another password: Orthanc's settings."""
    requests = pytest.importorskip("requests", reason="needs the extra pacs")
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.exists():
        pytest.skip("no Orthanc with DICOMweb here: apt-get install orthanc orthanc-dicomweb")
    shutil.copytree(FOLDER, tmp_path / "mypacs")
    settings = json.loads((tmp_path / "mypacs" / "orthanc.json").read_text())
    node = free_port()
    settings |= {"HttpPort": free_port(), "DicomPort": free_port(), "RegisteredUsers": {"research": "secret"}}
    settings["DicomModalities"]["lungcls"][2] = node
    (tmp_path / "mypacs" / "orthanc.json").write_text(json.dumps(settings))
    serve = next(line for line in command_lines() if line[:2] == ["dicom", "serve"])
    serve = [word.replace(":4242", f":{settings['DicomPort']}") for word in serve]
    with (tmp_path / "log").open("wb") as log:
        commands = (
            [program, "mypacs/orthanc.json"],
            [sys.executable, "-m", "lungcls", *serve, "--port", str(node)],
        )
        running = [
            subprocess.Popen(
                command,
                cwd=tmp_path,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            for command in commands
        ]
    try:
        for _ in range(900):
            try:
                there = requests.get(f"http://127.0.0.1:{settings['HttpPort']}/dicom-web/studies", timeout=9)
                if there.status_code == 401 and b"ready" in (tmp_path / "log").read_bytes():
                    break
            except requests.ConnectionError:
                pass
            assert all(process.poll() is None for process in running), (tmp_path / "log").read_text()
            time.sleep(0.2)
        else:
            pytest.fail((tmp_path / "log").read_text()[-2000:])
        yield settings
    finally:
        for process in running:
            process.terminate()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["C-STORE", "STOW"])
def test_a_film_that_orthanc_gets_is_answered_into_its_study(
    way: str,
    pacs: dict[str, Any],
    real_data: Path,
    film_of: Callable[..., Dataset],
    encoded: Any,
    tmp_path: Path,
) -> None:
    picture = sorted((real_data / "radiography" / "Normal" / "images").iterdir())[0]
    pixels = np.asarray(Image.open(picture).convert("L")) / 255
    film = film_of(pixels, sop_class=DX, PresentationIntentType="FOR PRESENTATION")
    address = f"http://127.0.0.1:{pacs['HttpPort']}/dicom-web"
    if way == "C-STORE":
        entity = AE(ae_title="MODALITY")
        entity.add_requested_context(film.SOPClassUID, "1.2.840.10008.1.2.1")
        association = entity.associate("127.0.0.1", pacs["DicomPort"], ae_title=pacs["DicomAet"])
        assert association.send_c_store(film).Status == 0
        association.release()
    else:
        (tmp_path / "film.dcm").write_bytes(encoded(film))
        push = [sys.executable, "-m", "lungcls", "dicom", "push", address, "film.dcm", "--user", "research"]
        env = {**os.environ, "LUNGCLS_DICOMWEB_PASSWORD": "secret", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(push, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    client = connect(address, "research", "secret")
    for _ in range(600):
        found = client.search_for_series(study_instance_uid=film.StudyInstanceUID)
        if len(found) == 3:
            break
        time.sleep(0.5)
    assert sorted(one["00080060"]["Value"][0] for one in found) == ["DX", "SEG", "SR"], (
        tmp_path / "log"
    ).read_text()[-2000:]
    series = next(one for one in found if one["00080060"]["Value"][0] == "SEG")["0020000E"]["Value"][0]
    (seg,) = client.retrieve_series(film.StudyInstanceUID, series)
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["Right lung", "Left lung"]
    right, left = (np.nonzero(plane)[1].mean() for plane in seg.pixel_array)
    assert right < pixels.shape[1] / 2 < left
