"""The documents' examples do what they say: every block runs, in order, in one folder."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lungcls

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.usefixtures("real_gate")
@pytest.mark.parametrize("name", ["first_hour.md", "extend.md"])
def test_every_block_prints_what_stands_below_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("pandas", "pytorch_grad_cam", "lightning"):
        pytest.importorskip(package, reason="the documents use every extra")
    page = DOCS / name
    if not page.is_file():
        pytest.skip("the tests run without the checkout: there are no documents")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "document"}
    printed: list[str] = []
    blocks = re.findall(r"^```(python|sh|text)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    for kind, code in blocks:
        if kind == "python":
            target = io.StringIO()
            with contextlib.redirect_stdout(target):
                exec(compile(code, f"{name}: {code[:40]!r}", "exec"), names)
            printed = target.getvalue().splitlines()
        elif kind == "sh":
            printed = _shell(code, tmp_path)
        else:
            assert [line for line in code.splitlines() if line not in printed] == [], printed


def _shell(code: str, folder: Path) -> list[str]:
    path = os.pathsep.join([str(Path(lungcls.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = f'lungcls() {{ "{sys.executable}" -m lungcls "$@"; }}\nset -e\n{code}'
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
