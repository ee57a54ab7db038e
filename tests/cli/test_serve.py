"""``lungcls serve``: options reach the service, and what is wrong is told before it listens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lungcls.cli.main import app

runner = CliRunner()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The configuration and the service of the server that was started; nothing listens."""
    from lungcls.web.server import Server

    found: dict[str, Any] = {}

    def run(self: Server) -> None:
        found.update(config=self.config, service=self._service)

    monkeypatch.setattr(Server, "run", run)
    return found


@pytest.fixture
def weights_options(tiny_segmenter: Path, tiny_classifier: Path) -> list[str]:
    # Networks run in a process of the service's own, which knows none of the test's.
    return [
        "--segmenter",
        str(tiny_segmenter),
        "--classifier",
        str(tiny_classifier),
        "--no-gate",
        "--device",
        "cpu",
    ]


def test_it_listens_on_this_machine_alone(started: dict[str, Any], weights_options: list[str]) -> None:
    result = runner.invoke(app, ["serve", *weights_options])
    assert result.exit_code == 0, result.output
    assert (started["config"].host, started["config"].port) == ("127.0.0.1", 8000)
    assert started["config"].server_header is False
    assert "without a password" not in result.output


def test_limits_reach_the_service(started: dict[str, Any], weights_options: list[str]) -> None:
    limits = ["--max-upload-mb", "5", "--max-files", "2", "--max-requests", "3", "--max-megapixels", "4"]
    times = ["--timeout", "7", "--explain-timeout", "8", "--upload-timeout", "9", "--root-path", "/lungs"]
    result = runner.invoke(app, ["serve", *weights_options, *limits, *times])
    assert result.exit_code == 0, result.output
    settings = started["service"].settings
    assert (settings.max_upload_mb, settings.max_files, settings.max_requests) == (5, 2, 3)
    assert (settings.max_megapixels, settings.timeout, settings.explain_timeout) == (4, 7, 8)
    assert (settings.upload_timeout, started["config"].root_path) == (9, "/lungs")
    assert started["service"].models.regions == ("mask",)


def test_an_address_that_others_reach_is_warned_of(
    started: dict[str, Any], weights_options: list[str]
) -> None:
    result = runner.invoke(app, ["serve", "--host", "0.0.0.0", *weights_options])
    assert result.exit_code == 0, result.output
    assert "without a password" in result.output
    assert started["config"].host == "0.0.0.0"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--classifier", "nowhere.safetensors"], "no such weight file"),
        (["--timeout", "-1"], "timeout"),
    ],
)
def test_what_is_wrong_is_one_line(started: dict[str, Any], wrong: list[str], words: str) -> None:
    result = runner.invoke(app, ["serve", *wrong])
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
    assert started == {}
